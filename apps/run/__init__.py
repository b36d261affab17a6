"""What a training run is: its request, folder, configuration, checkpoints and tables."""
