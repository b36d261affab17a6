"""Every script of `benchmarks/` runs, at sizes at which its figures say nothing: none may rot."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_tasks
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"


def is_script(path: Path) -> bool:
    """Say whether a file does something when it is run; what scripts share does not."""
    return any(
        isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if is_script(path))


@dataclass(frozen=True)
class Tiny:
    """How a script is run here.

    Attributes:
        arguments: What makes it quick.
        prints: A part of what it has to print.
        write: Writes what it reads into the working folder.
        slow: Whether it takes long all the same.
    """

    arguments: str
    prints: str
    write: Callable[[Path], None] = lambda folder: None
    slow: bool = False


def write_captions(folder: Path) -> None:
    for number in range(8):
        Image.new("RGB", (40, 32), (number * 30,) * 3).save(folder / f"{number}.png")
    rows = "".join(f"{number}.png,A grey image.\n" for number in range(8))
    (folder / "captions.csv").write_text(f"image,caption\n{rows}")


FEW = "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --model.core.hidden_size 8"
TINY = {
    "abilities": Tiny(
        "--cores MinGRU GRU --tasks parity adding --seeds 0 --steps 1 --draw picture.png",
        "| `GRU` | 40 | ",
    ),
    "caption_metrics": Tiny("--repeats 1 --captions 20", "| all scores of 20 captions"),
    "captioning": Tiny(
        "--repeats 1 --images 2 --root . --backbone squeezenet1_1 --epochs 1",
        "| 5 | ",
        write_captions,
        slow=True,
    ),
    "char_lm_cores": Tiny(
        "text.txt --seconds 0.1 --seeds 0 --parameters 20000 --cores MinGRU",
        "| MinGRU | 128 | ",
        tiny_tasks.write_text,
    ),
    "cores": Tiny(
        "--cores MinGRU,LSTM --sizes 2x4x8 --lengths 8,16 --chunk 8 --rounds 1 --no-peers",
        "| MinGRU | 8 | ",
    ),
    "corpus_memory": Tiny("--megabytes 1 --batches 2 --folder .", "| 1 MB | 9"),
    "documents": Tiny("--cores GRU --size 3x20x4 --means 7 --repeats 1", "| GRU | 7 | "),
    "fit": Tiny(
        f"char_lm/text --test --data.path text.txt --data.batch_size 4 {FEW}",
        "final ",
        tiny_tasks.write_text,
    ),
    "generation": Tiny("--repeats 1 --length 4", "| 64 | "),
    "gpu_check": Tiny("--device cpu --tiny", "everything is in gpu_check.json", slow=True),
    "photographs": Tiny(
        ". --folds 2 --only 1 --val 2 --data.cache_features false --data.min_count 1 "
        "--data.image_size 32 --trainer.max_epochs 1 --trainer.limit_train_batches 1 "
        "--model.encoder.backbone SmallCNN --model.decoder.hidden_size 8",
        "| mean | ",
        write_captions,
        slow=True,
    ),
    "pronunciations": Tiny(
        "--words 200 --held_out 20 --sizes null --trainer.max_epochs 1 "
        "--trainer.limit_train_batches 2",
        "| null | ",
        slow=True,
    ),
    "results": Tiny(
        "--seconds 0.01 --batches 1 --cores MinGRU --tasks char_lm",
        "| core | char_lm, bits per character |",
    ),
    "salads50": Tiny(
        ". --splits 1 --seeds 0 --data.background [rest] --trainer.max_epochs 1",
        "| mean | ",
        tiny_tasks.write_videos,
    ),
    "soak": Tiny("--tasks char_lm --steps 2,4 --every 2", "| char_lm | "),
    "startup": Tiny("--repeats 1", "import torch", slow=True),
    "streaming": Tiny("--features 4 --hidden 4 --calls 1 --rounds 1", "| MinLSTM | "),
    "torch_overhead": Tiny("--pairs 1 --sizes 2x3x4", "| GRU | 2 x 3 x 4 | 0.9 T..T | "),
    "training_overhead": Tiny(
        "--pairs 1 --steps 2 --stretches 1", "added by what makes a run safe: "
    ),
    "translation": Tiny("--repeats 1 --rows 2 --batches 1", "| 1 | 5 | 15 | "),
    "video_pipeline": Tiny("--frames 4 --width 32 --height 32", "| decoder ahead | "),
}


def cases() -> list[Any]:
    """Return the scripts that there are and those that have an entry."""
    slow = {name for name, tiny in TINY.items() if tiny.slow}
    marks = {name: [pytest.mark.slow] if name in slow else [] for name in {*SCRIPTS, *TINY}}
    return [pytest.param(name, marks=marks[name]) for name in sorted(marks)]


@pytest.mark.slow
@pytest.mark.parametrize("script", cases())
def test_it_runs(script, tmp_path):
    assert script in SCRIPTS, f"there is no script benchmarks/{script}.py: take it out of TINY"
    assert script in TINY, f"benchmarks/{script}.py has no tiny arguments: add them to TINY"
    if script in ("corpus_memory", "soak") and not Path("/proc/self/clear_refs").exists():
        pytest.skip(f"{script} reads Linux' figures of a process")
    tiny = TINY[script]
    tiny.write(tmp_path)
    run = subprocess.run(
        [sys.executable, FOLDER / f"{script}.py", *shlex.split(tiny.arguments)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert tiny.prints in run.stdout, run.stdout
