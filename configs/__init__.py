"""The configurations that come with the package: a folder a task, and `trainer` for every run."""
