"""The built-in captioning data: drawn scenes."""
