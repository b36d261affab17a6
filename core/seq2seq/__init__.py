"""Encoders, decoders, attention, search and losses: what is made of cores for sequences to sequences."""
