"""The folder of a run: where it is, who writes in it, and how: whole or not at all."""
