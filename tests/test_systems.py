"""What other systems lack or have, forced on this one.

Processes that are spawned and not forked, no symbolic and no hard links, paths with spaces and
letters of other scripts: as on Windows and macOS, which nobody has tried.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tiny_tasks import CASES

NAMES = "Ordner mit Leerzeichen, ünïcode и 日本"
# Run from a file, as a program: what is spawned reads it again, under another name.
PROGRAM = """\
import multiprocessing, os, sys

def refuse(*args, **more):
    raise OSError("this system has none")

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    os.symlink = os.link = os.fork = os.forkpty = refuse
    from unrolled.cli import main
    words = sys.argv[1:]
    fit = main(["fit", *words, "--name", "erster Lauf é"])
    more = main(["fit", *words, "--name", "erster Lauf é", "--resume", "--trainer.max_steps", "3"])
    info = main(["info", f"runs/{words[0].partition('/')[0]}/erster Lauf é"])
    print("codes", fit, more, info)
"""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.task, marks=[pytest.mark.slow] if number else [])
        for number, case in enumerate(CASES)
    ],
)
def test_trains_and_goes_on_with_spawned_workers_and_without_links(case, tmp_path):
    folder = tmp_path / NAMES
    folder.mkdir()
    case.write(folder)
    (folder / "das Programm.py").write_text(PROGRAM, encoding="utf-8")
    small = ("--trainer.accelerator", "cpu", "--trainer.max_steps", "2", "--data.num_workers", "1")
    small += ("--trainer.limit_val_batches", "1", "--data.batch_size", "4")
    done = subprocess.run(
        [sys.executable, "das Programm.py", case.variant, *case.flags, *small],
        cwd=folder,
        env={**os.environ, "UNROLLED_CACHE": str(tmp_path / f"Speicher {NAMES}")},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.stdout.splitlines()[-1] == "codes 0 0 0", done.stderr[-3000:]
    kept = folder / "runs" / case.task / "erster Lauf é" / "checkpoints"
    assert {"last.ckpt", "previous.ckpt"} <= {path.name for path in kept.iterdir()}
    assert not any(path.is_symlink() for path in folder.rglob("*"))
