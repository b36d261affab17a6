"""What people do with the suite from a shell: train, generate, look into a checkpoint, find out what is wrong."""
