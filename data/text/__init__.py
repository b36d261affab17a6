"""Text for the character language model."""
