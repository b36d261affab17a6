"""Frame-by-frame video labelling."""
