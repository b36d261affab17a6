"""Videos with a label for every frame."""
