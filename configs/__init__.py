"""The configurations that come with the package: a folder per task, and what every run needs in `trainer`."""
