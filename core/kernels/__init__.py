"""Fast loops, each with a plain reference beside it."""
