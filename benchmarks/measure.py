"""What the scripts of this folder share: CPU time, spreads, quiet trainers, lines of a table."""

from __future__ import annotations

import argparse
import inspect
import logging
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import torch
from unrolled.core import RecurrentCore, discover_cores

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}
"""What a `Trainer` is given that only trains."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows a script's docstring as it stands."""
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def single_layers() -> dict[str, type[RecurrentCore]]:
    """Return the causal cores that are no composition of others."""
    return {
        name: core
        for name, core in discover_cores().items()
        if core.causal and "hidden_size" in inspect.signature(core).parameters
    }


def one_thread() -> None:
    """Compute in one thread, and without the advice of Lightning."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")


def cpu_seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Return the mean CPU seconds of a call: other programs on the machine change it little."""
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def spread(values: Sequence[float], form: str, unit: str = "") -> str:
    """Return the median of some values and, in brackets, the least and the most."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:{form}}{unit} ({least:{form}} to {most:{form}})"


def introduce(text: str) -> None:
    """Print what is measured, and with what."""
    print(f"{text};\ntorch {torch.__version__}, {platform.machine()}, {platform.system()}\n")


def head(*columns: str, align: str = "---") -> None:
    """Print the head of a Markdown table."""
    print(f"| {' | '.join(columns)} |\n|{f'{align}|' * len(columns)}", flush=True)


def line(*cells: object) -> None:
    """Print a line of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
