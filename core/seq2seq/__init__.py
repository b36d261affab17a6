"""What is made of cores for sequences: encoders, decoders, attention, search and losses."""
