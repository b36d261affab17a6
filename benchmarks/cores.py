"""What a layer of every core costs, beside torch's and other packages' layers and its own bound.

Prints markdown tables. Everything in a table is timed in turn, round by round, in CPU time of this
process with one thread; a figure is the median over the rounds, a ratio the median of the rounds'
ratios.

    python benchmarks/cores.py                   # everything: most of an hour
    python benchmarks/cores.py --tables train --sizes 32x128x256 --cores MinGRU,LSTM
    PYTHONPATH=/a/folder python benchmarks/cores.py  # with minGRU-pytorch, torchrecurrent, xlstm

A core's bound is what it can't avoid, in the order it can't avoid: the matrix products forward and
backward, those of the input at once, those of the state step by step, into memory that is there
already; and one pass over memory for reading the gates' input, writing the output, and the same
backward. Nothing is added for the arithmetic of the gates.

Shapes: B batch, T time, H hidden (and input).
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from core_bounds import bound
from torch import Tensor, nn
from unrolled.core import RecurrentCore, discover_cores
from unrolled.core.families.elementwise import ElementwiseCore

SIZES = "32x128x256,64x100x512,8x1024x256,1x8192x256"
Run = Callable[[], object]


def seconds(run: Run) -> float:
    """Take the CPU seconds of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def in_turn(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Time every function once a round, each round in another order."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for name in names:
        seconds(runs[name])
    for i in range(rounds):
        shift = i * 7 % len(names)
        for name in names[shift:] + names[:shift]:
            times[name].append(seconds(runs[name]))
    return times


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def peers(hidden: int, steps: int) -> dict[str, nn.Module]:
    """Make torch's layers, and those of the packages that are installed."""

    def of(module: str, name: str, *arguments: object, **options: object) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, **options)

    def xlstm(kind: str, **options: object) -> nn.Module:
        config = of("xlstm", f"{kind}LayerConfig", embedding_dim=hidden, num_heads=4, **options)
        return of("xlstm", f"{kind}Layer", config)

    def torchrecurrent(kind: str) -> nn.Module:
        return of("torchrecurrent", kind, hidden, hidden, batch_first=True)

    makers: dict[str, Callable[[], nn.Module]] = {
        "torch nn.LSTM": lambda: nn.LSTM(hidden, hidden, batch_first=True),
        "torch nn.GRU": lambda: nn.GRU(hidden, hidden, batch_first=True),
        "minGRU-pytorch minGRU": lambda: of("minGRU_pytorch", "minGRU", hidden),
        "minGRU-pytorch minLSTM": lambda: of("minGRU_pytorch.minLSTM", "minLSTM", hidden),
        "torchrecurrent IndRNN": lambda: torchrecurrent("IndRNN"),
        "torchrecurrent PeepholeLSTM": lambda: torchrecurrent("PeepholeLSTM"),
        "xlstm sLSTM": lambda: xlstm("sLSTM", conv1d_kernel_size=0, backend="vanilla"),
        "xlstm mLSTM": lambda: xlstm("mLSTM", context_length=steps),
    }
    if steps > 2048:
        del makers["xlstm mLSTM"]  # its parallel form takes memory in T^2: gigabytes here
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except (ImportError, AttributeError) as error:
            print(f"no {name}: {error}", file=sys.stderr)
    return found


def training(module: nn.Module, x: Tensor) -> Run:
    """Make a run of forward and backward, with the gradients of the weights and of the input."""
    grad: list[Tensor] = []

    def run() -> None:
        module.zero_grad()
        x.grad = None
        output = module(x)
        output = output[0] if isinstance(output, tuple) else output
        if not grad:
            grad.append(torch.randn_like(output))
        output.backward(grad[0])

    return run


def train_table(
    names: list[str], sizes: list[tuple[int, int, int]], rounds: int, with_peers: bool
) -> None:
    """Time forward and backward of one layer."""
    for batch, steps, hidden in sizes:
        torch.manual_seed(0)
        x = torch.randn(batch, steps, hidden, requires_grad=True)
        cores = {name: discover_cores()[name](hidden, hidden) for name in names}
        runs = {name: training(core, x) for name, core in cores.items()}
        runs |= {f"bound of {name}": bound(core, batch, steps) for name, core in cores.items()}
        others = peers(hidden, steps) if with_peers else {}
        others = others or {"torch nn.LSTM": nn.LSTM(hidden, hidden, batch_first=True)}
        runs |= {name: training(module, x) for name, module in others.items()}
        times = in_turn(runs, rounds)
        size = f"({batch}, {steps}, {hidden})"
        print(f"\n### Forward + backward at (B, T, H) = {size}, {rounds} rounds\n")
        compared = {
            "nn.LSTM": "torch nn.LSTM",
            "nn.GRU": "torch nn.GRU",
            "minGRU-pytorch": "minGRU-pytorch minGRU",
        }
        takes = " | ".join(f"{name} takes" for name in compared)
        print(f"| layer | ms | bound, ms | of its bound | {takes} |\n|---|---|---|---|---|---|---|")
        for name in [*names, *others]:
            limit = times.get(f"bound of {name}")
            cells = ["-", "-"]
            if limit:
                cells = [
                    f"{statistics.median(limit) * 1e3:.1f}",
                    f"**{ratio(limit, times[name]):.0%}**",
                ]
            for peer in compared.values():
                cells.append(f"{ratio(times[peer], times[name]):.2f}x" if peer in times else "-")
            milliseconds = f"{statistics.median(times[name]) * 1e3:.1f}"
            print(f"| {name} | {milliseconds} | {' | '.join(cells)} |", flush=True)


def step_table(names: list[str], hidden: int, rounds: int) -> None:
    """Time one step at B = 1, as generation takes it: `stepper` of one layer, without gradients."""
    torch.manual_seed(0)
    x = torch.randn(1, hidden)
    runs: dict[str, Run] = {}

    def repeat(function: Callable[[], object]) -> Run:
        return lambda: [function() for _ in range(100)]

    with torch.inference_mode():
        for name in names:
            core = discover_cores()[name](hidden, hidden).eval()
            step, state = core.stepper(), core.initial_state(1)
            runs[name] = repeat(lambda step=step, state=state: step(x, state))
        for kind in (nn.LSTM, nn.GRU):
            whole = kind(hidden, hidden, batch_first=True)
            runs[f"torch nn.{kind.__name__}, T = 1"] = repeat(
                lambda whole=whole: whole(x.unsqueeze(1))
            )
        lstm, gru = nn.LSTMCell(hidden, hidden), nn.GRUCell(hidden, hidden)
        h, c = torch.zeros(1, hidden), torch.zeros(1, hidden)
        runs["torch nn.LSTMCell"] = repeat(lambda: lstm(x, (h, c)))
        runs["torch nn.GRUCell"] = repeat(lambda: gru(x, h))
        times = in_turn(runs, rounds)
    print(f"\n### One step at B = 1, H = {hidden}, {rounds} rounds of 100 steps\n")
    print("| layer | microseconds | nn.LSTMCell takes |\n|---|---|---|")
    for name, found in times.items():
        beside = ratio(times["torch nn.LSTMCell"], found)
        print(f"| {name} | {statistics.median(found) * 1e4:.0f} | {beside:.2f}x |")


def fit(xs: list[int], ys: list[float]) -> tuple[float, float, float]:
    """Fit least squares y = intercept + slope x, and R^2."""
    slope, intercept = statistics.linear_regression(xs, ys)
    mean = statistics.fmean(ys)
    rest = sum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    return intercept, slope, 1 - rest / sum((y - mean) ** 2 for y in ys)


def linearity_table(
    names: list[str], batch: int, hidden: int, lengths: list[int], rounds: int
) -> None:
    """Show time against T."""
    where = f"B = {batch}, H = {hidden}"
    print(f"\n### Time against T at {where}: forward + backward, ms, {rounds} rounds\n")
    print(f"| core | {' | '.join(f'T = {steps}' for steps in lengths)} | us a step | R^2 |")
    print("|---|" + "---|" * (len(lengths) + 2))
    for name in names:
        core = discover_cores()[name](hidden, hidden)
        inputs = {
            f"{steps}": torch.randn(batch, steps, hidden, requires_grad=True) for steps in lengths
        }
        times = in_turn({key: training(core, x) for key, x in inputs.items()}, rounds)
        medians = [statistics.median(found) for found in times.values()]
        _, slope, r2 = fit(lengths, medians)
        cells = [*(f"{m * 1e3:.1f}" for m in medians), f"{slope * 1e6:.1f}", f"{r2:.4f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def peak(run: Run) -> float:
    """Return the MiB by which the process grows at most during a call (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    status = Path("/proc/self/status")

    def read(key: str) -> int:
        lines = status.read_text().splitlines()
        return int(next(line for line in lines if line.startswith(key)).split()[1])

    before = read("VmRSS:")
    run()
    return (read("VmHWM:") - before) / 1024


def memory_table(names: list[str], batch: int, hidden: int, lengths: list[int], chunk: int) -> None:
    """Show peak memory of forward and backward against T, beside what can't be avoided."""
    where = f"B = {batch}, H = {hidden}"
    print(f"\n### Peak memory of forward + backward at {where}, MiB, with and without chunk\n")
    print(f"| core | chunk | {' | '.join(f'T = {steps}' for steps in lengths)} |")
    print(f"|---|---|{'---|' * len(lengths)}")
    floor = [4 * batch * steps * hidden * 4 / 2**20 for steps in lengths]
    print(f"| x, output and both gradients | | {' | '.join(f'{size:.0f}' for size in floor)} |")
    for name in names:
        cls = discover_cores()[name]
        for given in (None, chunk) if issubclass(cls, ElementwiseCore) else (None,):
            sizes = []
            for steps in lengths:
                options = {} if given is None else {"chunk": given}
                core = cls(hidden, hidden, **options)
                training(core, torch.randn(2, 2 * chunk, hidden, requires_grad=True))()

                def run(core: RecurrentCore = core, steps: int = steps) -> None:
                    x = torch.randn(batch, steps, hidden, requires_grad=True)
                    core(x)[0].backward(torch.ones(1).expand(batch, steps, hidden))

                sizes.append(peak(run))
            cells = " | ".join(f"{size:.0f}" for size in sizes)
            print(f"| {name} | {given} | {cells} |", flush=True)


def main() -> None:
    """Print the tables."""
    everything = discover_cores()
    plain = [name for name, cls in everything.items() if "core" not in cls.__init__.__annotations__]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--tables", default="train,step,time,memory", help="train, step, time, memory"
    )
    parser.add_argument("--cores", default=",".join(plain), help="which cores, by class name")
    parser.add_argument("--sizes", default=SIZES, help="BxTxH,... of the train table")
    parser.add_argument(
        "--lengths", default="256,512,1024,2048,4096", help="T of the time and memory tables"
    )
    parser.add_argument("--chunk", type=int, default=128, help="chunk of the memory table")
    parser.add_argument("--rounds", type=int, default=9, help="how often everything is timed")
    parser.add_argument("--no-peers", action="store_true", help="only nn.LSTM beside the cores")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = arguments.cores.split(",")
    if unknown := sorted(set(names) - set(plain)):
        parser.error(f"no core {', '.join(unknown)}; there are {', '.join(plain)}")
    sizes = [tuple(map(int, size.split("x"))) for size in arguments.sizes.split(",")]
    lengths = [int(steps) for steps in arguments.lengths.split(",")]
    tables = arguments.tables.split(",")
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{versions}, one thread, {platform.machine()}")
    if "train" in tables:
        train_table(names, sizes, arguments.rounds, not arguments.no_peers)
    if "step" in tables:
        step_table(names, 256, arguments.rounds)
    if "time" in tables:
        linearity_table(names, 8, 256, lengths, arguments.rounds)
    if "memory" in tables:
        memory_table(names, 8, 256, lengths, arguments.chunk)


if __name__ == "__main__":
    main()
