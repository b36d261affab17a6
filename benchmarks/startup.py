"""What commands cost before they do anything: CPU seconds and memory of whole processes.

    python benchmarks/startup.py --repeats 5 "translate RUN one.txt" "caption RUN one.jpg"

Beside them stands what Python and `import torch` cost alone. The checkpoint is an untrained
LSTM; what is given beside it are command lines of `unrolled` about runs of one's own. Modules are
read as bytecode, as an installed package's are.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import measure
from lightning.pytorch import Trainer
from unrolled.core import LSTM
from unrolled.tasks import CharLM

# In a small process of its own: the peak of whoever starts a process counts as that one's.
STARTER = """
import os, sys
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
words = [sys.executable, *sys.argv[1:]]
child = os.posix_spawn(words[0], words, os.environ, file_actions=silent)
_, status, used = os.wait4(child, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)
sys.exit(status != 0)
"""


def cost(command: list[str]) -> tuple[float, float]:
    """Return the CPU seconds of a process, and its peak memory in MB."""
    words = [sys.executable, "-S", "-c", STARTER, *command]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def save(path: Path) -> None:
    """Save an untrained language model of 65 characters."""
    symbols = "".join(map(chr, range(32, 97)))
    task = CharLM(
        {"vocabulary": {"kind": "characters", "symbols": symbols}}, partial(LSTM, hidden_size=256)
    )
    trainer = Trainer(**measure.QUIET)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)


def main() -> None:
    """Measure the commands in turn, so that what else the machine does falls on all of them."""
    words = measure.parser(__doc__)
    words.add_argument("--repeats", type=int, default=5, help="processes of each command")
    words.add_argument("commands", nargs="*", help="more commands, each a line of unrolled's")
    given = words.parse_args()
    repeats = given.repeats
    measure.one_thread()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # containers set it
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "bytecode")
        file = Path(folder) / "model.ckpt"
        save(file)
        ours = ["-m", "unrolled"]
        commands = {
            "python -c pass": ["-c", "pass"],
            "import torch": ["-c", "import torch"],
            "unrolled --help": [*ours, "--help"],
            "unrolled list": [*ours, "list"],
            "unrolled generate, 1 character": [*ours, "generate", str(file), "--length", "1"],
            **{f"unrolled {line}": [*ours, *shlex.split(line)] for line in given.commands},
        }
        costs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(repeats + 1):  # the first fills the caches of the file system
            for name, command in commands.items():
                costs[name].append(cost(command))
    measure.introduce(
        f"CPU seconds and peak memory of whole processes, {repeats} of each, one thread"
    )
    for name, found in costs.items():
        seconds, megabytes = zip(*found[1:], strict=True)
        print(
            f"{name:<32} {measure.spread(seconds, '.2f', ' s')}, "
            f"{statistics.median(megabytes):.0f} MB"
        )


if __name__ == "__main__":
    main()
