"""What one frame of a stream costs: features in, a label out, on one CPU thread.

Prints a Markdown table: CPU milliseconds a frame (the median of the rounds' means), and what of it
is the core's step.

    python benchmarks/streaming.py --features 2048 --hidden 256
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from measure import cpu_seconds, head, introduce, line, one_thread, parser
from unrolled.core import GRU, LSTM, MinGRU, MinLSTM
from unrolled.tasks import VideoModel


def milliseconds(call: Callable[[], object], *, calls: int, rounds: int) -> float:
    """Return the median over rounds of the mean CPU time of a call."""
    call()
    return 1000 * statistics.median(cpu_seconds(call, calls) for _ in range(rounds))


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--features", type=int, default=2048, help="D, features of a frame")
    options.add_argument("--hidden", type=int, default=256)
    options.add_argument("--classes", type=int, default=20)
    options.add_argument("--calls", type=int, default=200)
    options.add_argument("--rounds", type=int, default=15)
    arguments = options.parse_args()
    one_thread()
    spec = {
        "classes": [f"class {number}" for number in range(arguments.classes)],
        "background": [],
        "feature_size": arguments.features,
        "image_size": 0,
        "stride": 1,
    }
    timing = {"calls": arguments.calls, "rounds": arguments.rounds}
    sizes = f"{arguments.features} features, hidden {arguments.hidden}"
    introduce(f"{sizes}, {arguments.classes} classes, one thread")
    head("core", "ms a frame", "core's step alone")
    for core in (GRU, LSTM, MinGRU, MinLSTM):
        model = VideoModel(spec, partial(core, hidden_size=arguments.hidden)).eval()
        stream, frame = model.stream(), torch.randn(arguments.features)
        whole = milliseconds(partial(stream, frame), **timing)
        with torch.inference_mode():
            step = milliseconds(partial(stream._step, frame[None], stream.state), **timing)
        line(core.__name__, f"{whole:.3f}", f"{step:.3f}")


if __name__ == "__main__":
    main()
