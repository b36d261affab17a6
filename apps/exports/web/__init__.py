"""Trained models as one page that runs in any browser, from a file."""
