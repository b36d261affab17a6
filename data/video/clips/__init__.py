"""The built-in video data: drawn clips."""
