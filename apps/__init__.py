"""What people do with the suite from a shell: a file is a command, found by being there."""
