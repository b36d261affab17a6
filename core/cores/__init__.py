"""The cores, one a file."""
