"""Pictures that the commands write."""
