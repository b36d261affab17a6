"""What one frame of a stream costs: features in, a label out, one frame at a time, on one CPU thread.

Prints a Markdown table: CPU milliseconds a frame (the median of the rounds' means), and what of it
is the core's step.

    python benchmarks/streaming.py --features 2048 --hidden 256
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from unrolled.core import GRU, LSTM, MinGRU, MinLSTM
from unrolled.tasks import VideoModel


def milliseconds(call: Callable[[], object], *, calls: int, rounds: int) -> float:
    """The median over rounds of the mean CPU time of a call."""
    call()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            call()
        times.append((time.process_time() - start) / calls * 1000)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=2048, help="D, features of a frame")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spec = {
        "classes": [f"class {number}" for number in range(arguments.classes)],
        "background": [],
        "feature_size": arguments.features,
        "image_size": 0,
        "stride": 1,
    }
    timing = {"calls": arguments.calls, "rounds": arguments.rounds}
    print(
        f"{arguments.features} features, hidden {arguments.hidden}, {arguments.classes} classes, one thread;"
    )
    print(f"torch {torch.__version__}, {platform.machine()}, {platform.system()}\n")
    print("| core | ms a frame | core's step alone |")
    print("|---|---|---|")
    for core in (GRU, LSTM, MinGRU, MinLSTM):
        model = VideoModel(spec, partial(core, hidden_size=arguments.hidden)).eval()
        stream, frame = model.stream(), torch.randn(arguments.features)
        whole = milliseconds(partial(stream, frame), **timing)
        with torch.inference_mode():
            step = milliseconds(partial(stream._step, frame[None], stream.state), **timing)
        print(f"| {core.__name__} | {whole:.3f} | {step:.3f} |")


if __name__ == "__main__":
    main()
