"""Labels of videos as programs for annotation write them, and as they read them."""
