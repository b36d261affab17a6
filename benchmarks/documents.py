"""Cost of resets in streams of short documents, forward and backward, beside the same without.

One thread, in turn: no resets, a cut of the batch at every reset, and as it is run. Prints a
Markdown table.

    python benchmarks/documents.py
"""

from __future__ import annotations

from functools import partial

import torch
from measure import cpu_seconds, head, introduce, line, one_thread, parser, spread
from torch import Tensor
from unrolled.core import RecurrentCore, discover_cores, schedule
from unrolled.core.families import chunked

CORES = (
    "LSTM",
    "GRU",
    "RNN",
    "LayerNormLSTM",
    "MogrifierLSTM",
    "SLSTM",
    "MLSTM",
    "HGRN2",
    "Mamba2",
)
CORES += ("GatedDeltaNet",)


def resets(rows: int, steps: int, mean: int) -> Tensor:
    """Draw where documents begin, of half of `mean` steps to half as many again (rows, steps)."""
    found = torch.zeros(rows, steps, dtype=torch.bool)
    for row in found:
        step = int(torch.randint(mean, ()))
        while step < steps:
            row[step] = True
            step += int(torch.randint(mean - mean // 2, mean + mean // 2 + 1, ()))
    return found


def run(core: RecurrentCore, x: Tensor, reset: Tensor | None) -> None:
    """Run a core forward and backward."""
    core.zero_grad()
    core(x, reset=reset)[0].sum().backward()


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--cores", default=",".join(CORES))
    options.add_argument("--size", default="64x64x256", help="rows x steps x hidden units")
    options.add_argument("--means", default="7,20,100", help="mean steps of a document")
    options.add_argument("--repeats", type=int, default=7)
    arguments = options.parse_args()
    one_thread()
    torch.manual_seed(0)
    rows, steps, hidden = map(int, arguments.size.split("x"))
    repeats = f"{arguments.repeats} repeats in turn"
    introduce(f"{rows} x {steps} x {hidden}, input 64, CPU, one thread, {repeats}; seed 0")
    head("core", "mean document", "no resets, ms", "cut at each, ratio", "as it is run, ratio")
    ways = {"_MANY": (schedule, 10**9), "_MODERATE": (chunked, 0.0)}  # to run resets otherwise
    kept = {name: getattr(module, name) for name, (module, _) in ways.items()}
    x = torch.randn(rows, steps, 64, requires_grad=True)
    for name in arguments.cores.split(","):
        core = discover_cores()[name](64, hidden)

        for mean in map(int, arguments.means.split(",")):
            reset = resets(rows, steps, mean)
            times: list[tuple[float, ...]] = []
            for _ in range(arguments.repeats + 1):
                plain = cpu_seconds(partial(run, core, x, None))
                for way, (module, never) in ways.items():
                    setattr(module, way, never)
                cut = cpu_seconds(partial(run, core, x, reset))
                for way, (module, _) in ways.items():
                    setattr(module, way, kept[way])
                times.append((plain, cut, cpu_seconds(partial(run, core, x, reset))))
            del times[0]  # the first warms up
            ratios = [spread([t[i] / t[0] for t in times], ".2f") for i in (1, 2)]
            line(name, mean, spread([1e3 * t[0] for t in times], ".1f"), *ratios)


if __name__ == "__main__":
    main()
