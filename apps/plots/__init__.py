"""Pictures of networks, texts and runs: `unrolled plot WHAT`, the functions of `unrolled.plots`.

A file in this folder is a picture, found by being there: its public function, which is called like
the file, returns a figure of matplotlib. Its positional arguments are words of the command line,
its keyword-only ones are flags. What a picture has as `said` is printed as well.
"""

from pathlib import Path


def files() -> dict[str, Path]:
    """Return the file of each picture, by its name; none is imported."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("[!_]*.py"))}
