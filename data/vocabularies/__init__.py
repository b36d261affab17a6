"""What a symbol of a text is: a character, a byte, a word, a subword."""
