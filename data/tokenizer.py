"""Subwords and words: text to ids and back, trained with the `tokenizers` library, kept as plain JSON."""
