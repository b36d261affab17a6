"""Memory and time of encoding a corpus and reading batches from it, small and large.

Peak memory must not grow with the corpus. Each corpus gets a process of its own. "Peak" is the
kernel's high-water mark of all resident memory (VmHWM, set back after the imports): what the
process allocated and what it holds of mapped files, libraries included. "Allocated" is RssAnon
alone, the part that the system can't take back; its peak is the highest of samples taken every 5
ms. "Start" is after the imports, before any data is read. Linux only.

    python benchmarks/corpus_memory.py
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from measure import head, line, parser

SEED = 0


def write_corpus(path: Path, size: int) -> None:
    """Write some `size` bytes of made-up words in sentences, as frequent as words are."""
    random = np.random.default_rng(SEED)
    letters = random.permutation(np.array(list("eeeeetttaaooiinnsshhrrddlluucmfywgpbvkéüß")))
    words = np.array(["".join(random.choice(letters, n)) for n in random.integers(1, 11, 20_000)])
    chances = 1 / np.arange(1, len(words) + 1)
    bounds = np.cumsum(chances / chances.sum())
    ends = np.array([" ", ", ", ". ", ".\n\n"])
    written = 0
    with path.open("wb") as file:
        while written < size:
            chosen = words[np.searchsorted(bounds, random.random(150_000) * bounds[-1])]
            marks = ends[np.searchsorted([0.84, 0.92, 0.99], random.random(len(chosen)))]
            block = "".join(np.char.add(chosen, marks).tolist()).encode()
            written += file.write(block[: size - written] if size - written < len(block) else block)


def status(field: str) -> float:
    """Return a field of this process's status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024 / 1e6


def measure(path: str, cache: str, batches: int) -> None:
    """Encode a corpus, read batches, and print what that took, as JSON."""
    from unrolled.data import TextData

    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets VmHWM back to VmRSS
    start = status("VmHWM")
    peaks = [status("RssAnon")]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.005):
            peaks.append(status("RssAnon"))

    threading.Thread(target=sample, daemon=True).start()
    begin = time.perf_counter()
    data = TextData(path, cache_dir=cache)
    symbols = len(data.tokens) - 1
    encode = time.perf_counter() - begin
    loader = data.train_dataloader()
    begin, left = time.perf_counter(), batches
    while left:
        for _, _batch in zip(range(left), loader, strict=False):
            left -= 1
    each = (time.perf_counter() - begin) / batches
    done.set()
    print(
        json.dumps(
            {
                "symbols": symbols,
                "encode": encode,
                "each": each,
                "epoch": len(loader),
                "start": start,
                "peak": status("VmHWM"),
                "allocated_start": peaks[0],
                "allocated": max(peaks),
            }
        )
    )


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--megabytes", type=int, nargs="+", default=[10, 1000])
    options.add_argument("--batches", type=int, default=20_000)
    options.add_argument("--folder", help="where to make the corpora: twice the largest is needed")
    options.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.measure:
        measure(*arguments.measure, arguments.batches)
        return
    print(f"TextData, characters, 32 rows of 64 symbols, {arguments.batches} batches, seed {SEED};")
    print(f"numpy {np.__version__}, {platform.machine()}, {platform.system()}; MB = 10^6 bytes\n")
    figures = ("start", "peak", "allocated, start", "allocated, peak")
    columns = ("corpus", "characters", "batches an epoch", "encode", "a batch", *figures)
    head(*columns, align="---:")
    for size in arguments.megabytes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            path = Path(folder) / "corpus.txt"
            write_corpus(path, size * 10**6)
            words = [__file__, "--measure", str(path), folder, "--batches", str(arguments.batches)]
            output = subprocess.run(
                [sys.executable, *words],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            found = json.loads(output.stdout)
        line(
            f"{size} MB",
            f"{found['symbols']:,}",
            f"{found['epoch']:,}",
            f"{found['encode']:.2f} s",
            f"{found['each'] * 1e6:.0f} µs",
            *(f"{found[key]:.0f} MB" for key in ("start", "peak", "allocated_start", "allocated")),
        )


if __name__ == "__main__":
    main()
