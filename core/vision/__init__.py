"""Backbones, and the encoders of images and frames that are made of them."""
