"""Make the gallery: train the built-in tasks for some minutes each, and draw what they learned.

    make gallery
    python examples/gallery.py --minutes 3 --runs runs/gallery --to docs/gallery

A run that is there already is used as it is, so that pictures alone are drawn anew in seconds.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image
from unrolled import plots
from unrolled.apps.pictures.canvas import save
from unrolled.checkpoints import checkpoints_of
from unrolled.cli import main
from unrolled.data import ClipsData, ScenesData

TASKS = ("char_lm", "translation", "captioning", "video")
WIDTH = 700  # pixels
CODE = '''\
def read(self, path, mode="r"):
    """Return the lines of a file."""
    with open(path, mode) as file:
        return [line for line in file]
'''


def train(runs: Path, minutes: float) -> dict[str, Path]:
    """Train what is not there yet, and return each task's run."""
    found = {}
    seconds = round(60 * minutes)
    limit = f"00:{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    for task in (*TASKS, "char_lm/hello"):
        name = "hello" if task == "char_lm/hello" else "gallery"
        run = found[task] = runs / task.partition("/")[0] / name
        if not checkpoints_of(run):
            flags = ["--trainer.max_time", limit, "--trainer.default_root_dir", str(runs)]
            assert main(["fit", task, "--name", name, *flags]) == 0
    return found


def keep(figure: Figure, place: Path) -> None:
    """Write a picture small: few colours, as many pixels as a page has room for."""
    save(figure, place)
    with Image.open(place) as whole:
        height = round(whole.height * WIDTH / whole.width)
        size = (WIDTH, height) if whole.width > WIDTH else whole.size
        small = whole.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small.quantize(256, dither=Image.Dither.NONE).save(place, optimize=True)
    said = "; ".join(getattr(figure, "said", [])[:3])
    print(f"{place} ({place.stat().st_size // 1024} kB): {textwrap.shorten(said, 90)}")


def draw(runs: dict[str, Path], to: Path) -> None:
    """Draw every picture."""
    to.mkdir(parents=True, exist_ok=True)
    language, video = str(runs["char_lm"]), str(runs["video"])
    keep(plots.surprise(language, CODE, length=128), to / "surprise.png")
    source = Path(textwrap.__file__)
    keep(plots.neurons(language, source, find=True, length=128), to / "neurons.png")
    keep(plots.unrolled(language, "import"), to / "unrolled.png")
    keep(plots.unrolled(str(runs["char_lm/hello"]), "hello"), to / "hello.png")
    keep(plots.memory("RNN", "LSTM", "GRU", "MinGRU", "RGLRU", language), to / "memory.png")
    keep(plots.curves(runs["translation"]), to / "curves.png")
    sentence = "Montag, 3. Februar 2020"
    keep(plots.alignment(str(runs["translation"]), sentence), to / "alignment.png")
    scenes = next(iter(ScenesData(4, 1, test_size=30).loader("test")))
    keep(plots.attention(str(runs["captioning"]), scenes.image[0]), to / "attention.png")
    clips = ClipsData()
    clips.prepare_data()
    clip = clips.folder / "test" / "0004.mp4"
    truth = str(clip.with_suffix(".csv"))
    keep(plots.timeline(video, clip, truth=truth), to / "timeline.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="to train each task")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs are")
    parser.add_argument("--to", type=Path, default=Path("docs/gallery"), help="for the pictures")
    given = parser.parse_args()
    draw(train(given.runs, given.minutes), given.to)
