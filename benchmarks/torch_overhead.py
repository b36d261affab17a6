"""What the contract costs: our RNN, LSTM and GRU against bare torch modules with the same weights.

Prints two Markdown tables. Every figure compares two things that are timed in turn, pair by pair,
in CPU time of this process with one thread; a ratio is the median over the pairs, with a 95 %
interval of that median.

    python benchmarks/torch_overhead.py            # about two minutes
    python benchmarks/torch_overhead.py --pairs 40 --sizes 32x128x256

Shapes: B batch, T time, H hidden (and input).
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from measure import cpu_seconds, head, one_thread, parser
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from unrolled.core import GRU, LSTM, RNN

CORES = {"RNN": (RNN, nn.RNN), "LSTM": (LSTM, nn.LSTM), "GRU": (GRU, nn.GRU)}
SIZES = "8x16x64,20x35x200,32x128x256"


def pairs(
    run: Callable[[], object], peer: Callable[[], object], count: int
) -> tuple[list[float], list[float]]:
    """Time two functions in turn, changing who goes first."""
    for _ in range(2):
        run(), peer()
    repeats = max(1, round(0.03 / max(cpu_seconds(peer), 1e-6)))
    ours, theirs = [], []
    for i in range(count):
        order = ((run, ours), (peer, theirs)) if i % 2 else ((peer, theirs), (run, ours))
        for function, times in order:
            times.append(cpu_seconds(function, repeats))
    return ours, theirs


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """Return the median and its 95 % interval from order statistics (binomial as normal)."""
    ordered = sorted(values)
    half = 0.98 * len(ordered) ** 0.5
    low = max(0, int(len(ordered) / 2 - half))
    high = min(len(ordered) - 1, int(len(ordered) / 2 + half))
    return statistics.median(ordered), ordered[low], ordered[high]


def row(label: str, ours: list[float], theirs: list[float], unit: float = 1e3) -> str:
    """Return a line of a table: label, both medians, ratio and interval."""
    ratio, low, high = median_interval([a / b for a, b in zip(ours, theirs, strict=True)])
    medians = " | ".join(f"{statistics.median(times) * unit:.3f}" for times in (theirs, ours))
    return f"| {label} | {medians} | **{ratio:.3f}** | {low:.3f} to {high:.3f} |"


def training_step(module: nn.Module, run: Callable[[], Tensor], x: Tensor) -> Callable[[], None]:
    """Return forward and backward, with the gradients of the weights and of the input."""

    def step() -> None:
        module.zero_grad()
        x.grad = None
        run().sum().backward()

    return step


def sequences(count: int, sizes: list[tuple[int, int, int]], names: list[str]) -> None:
    """Print the tables for whole sequences, without and with lengths."""
    overhead, ragged = [], []
    for name in names:
        ours, theirs = CORES[name]
        for batch, steps, hidden in sizes:
            label = f"{name} | {batch} x {steps} x {hidden}"
            bare = theirs(hidden, hidden, batch_first=True)
            core = ours.from_torch(bare)
            x = torch.randn(batch, steps, hidden, requires_grad=True)
            plain = training_step(core, lambda core=core, x=x: core(x)[0], x)
            overhead.append(
                row(
                    label, *pairs(plain, training_step(bare, lambda m=bare, x=x: m(x)[0], x), count)
                )
            )
            for what, shortest in (("1..T", 1), ("0.9 T..T", round(0.9 * steps))):
                lengths = torch.randint(shortest, steps + 1, (batch,))
                lengths[0] = steps
                cut = training_step(
                    core, lambda core=core, x=x, n=lengths: core(x, lengths=n)[0], x
                )

                def packed(module: nn.Module = bare, x: Tensor = x, n: Tensor = lengths) -> Tensor:
                    rows = pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)
                    return module(rows)[0].data

                compared = row(f"{label} | {what}", *pairs(cut, plain, count))
                times = pairs(training_step(bare, packed, x), plain, max(3, count // 4))
                ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
                ragged.append(f"{compared} {ratio:.2f} |")
    sizes_of = ("core", "B x T x H")
    print("\n### Sequences, forward and backward\n")
    head(*sizes_of, "torch ms", "ours ms", "ratio", "95 % interval")
    print("\n".join(overhead))
    print("\n### Random lengths against none, forward and backward\n")
    compared = ("without ms", "with ms", "ratio", "95 % interval", "packed torch, ratio")
    head(*sizes_of, "lengths", *compared)
    print("\n".join(ragged))


def main() -> None:
    """Read the arguments and print the tables."""
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=21, help="pairs of measurements per line")
    options.add_argument("--sizes", default=SIZES, help="BxTxH, separated by commas")
    options.add_argument("--cores", default=",".join(CORES), help="which cores (default all)")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    one_thread()
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    runs = f"seed {args.seed}, {args.pairs} pairs a line"
    print(f"torch {torch.__version__}, {processor()}, 1 thread, float32, {runs}")
    sizes = [tuple(int(part) for part in size.split("x")) for size in args.sizes.split(",")]
    sequences(args.pairs, sizes, args.cores.split(","))


def processor() -> str:
    """Return the processor's name and its number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({len(names)} cores)" if names else platform.machine()


if __name__ == "__main__":
    main()
