"""What each recurrence can and cannot do: seven small tasks, every core, equal parameters.

Trains two layers of every core (LayerNorm before each, residual around it) on each task of
`ability_tasks`, on lengths up to the trained one, and scores answers at that length and at twice,
four and eight times of it. A file gets one line of JSON a cell as soon as the cell is done, so that
an interrupted run goes on with --resume. The order is seed by seed. Prints Markdown tables.

    python benchmarks/abilities.py --out abilities.jsonl
    python benchmarks/abilities.py --out abilities.jsonl --resume --seeds 0 1 2 3 4
    python benchmarks/abilities.py --out abilities.jsonl --show --draw abilities.svg
"""

from __future__ import annotations

import bisect
import json
import math
import time
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from ability_tables import TIMES, draw, print_tables
from ability_tasks import TASKS, TOLERANCE, Task, judged
from measure import one_thread, parser, single_layers
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from unrolled.core import RecurrentCore, Stacked

ROWS = 64
"""Rows of a step."""
LEARNING_RATE = 1e-2
PARAMETERS = 20_000
SCORED = 512
"""Rows that are scored at each length."""
CHECKED_EVERY = 50
"""Steps between looks at whether a task is solved."""
SOLVED = 0.999
"""Training ends when two looks in a row find at least this share of answers right."""


class Answers(nn.Module):
    """Two layers of a core that answer at every step.

    Args:
        task: What is asked.
        core: The class of the core.
        hidden_size: H.
    """

    def __init__(self, task: Task, core: type[RecurrentCore], hidden_size: int) -> None:
        super().__init__()
        embed = nn.Embedding(task.symbols, hidden_size) if task.symbols else None
        self.embed: nn.Module = embed or nn.Linear(2, hidden_size)
        layer = partial(core, hidden_size=hidden_size, **options(core, hidden_size))
        self.core = Stacked(hidden_size, layer, num_layers=2, norm=True, residual=True)
        self.norm = nn.LayerNorm(hidden_size)
        self.head = nn.Linear(hidden_size, task.classes)

    def forward(self, input: Tensor) -> Tensor:
        """Return scores (B, T, classes) of input (B, T) or (B, T, 2)."""
        return self.head(self.norm(self.core(self.embed(input))[0]))


def options(core: type[RecurrentCore], hidden_size: int) -> dict[str, int]:
    """Return what depends on the small width; all else is the core's default."""
    wanted = core.__init__.__annotations__
    small = {"num_heads": 2, "backbone_size": hidden_size, "state_size": 32}
    if "num_heads" not in wanted:
        del small["state_size"]  # of the LRU it is as wide as the layer by default
    if core.__name__ == "RGLRU":
        del small["num_heads"]  # its default has no heads
    return {name: value for name, value in small.items() if name in wanted}


def size_of(task: Task, core: type[RecurrentCore], hidden_size: int) -> int:
    """Count the parameters of a model."""
    return sum(p.numel() for p in Answers(task, core, hidden_size).parameters())


def hidden_size_for(task: Task, core: type[RecurrentCore], parameters: int) -> int:
    """Return the even hidden size whose model comes nearest to a number of parameters."""
    sizes, size = range(4, 401, 2), partial(size_of, task, core)
    place = bisect.bisect_left(sizes, parameters, key=size)
    return min(sizes[max(place - 1, 0) : place + 1], key=lambda one: abs(size(one) - parameters))


def loss_of(scores: Tensor, answers: Tensor) -> Tensor:
    """Return the mean loss of scores (B, T, classes) where answers (B, T) are asked for."""
    if answers.is_floating_point():
        asked = ~answers.isnan()
        return mse_loss(scores[asked].squeeze(1), answers[asked])
    return cross_entropy(scores.flatten(0, 1), answers.flatten())


@torch.inference_mode()
def accuracy(model: nn.Module, task: Task, generator: Generator, rows: int, length: int) -> float:
    """Return the share of right answers among those that are judged."""
    input, answers = task.make(generator, rows, length)
    scores, asked = model(input), judged(task, answers)
    if task.classes == 1:
        right = (scores.squeeze(2) - answers).abs() <= TOLERANCE
    else:
        right = scores.argmax(2) == answers
    return float(right[asked].double().mean())


def train(model: nn.Module, task: Task, seed: int, steps: int) -> int:
    """Train on lengths drawn up to the trained one; return after how many steps it ended."""
    generator, looks = Generator().manual_seed(seed), Generator().manual_seed(10_000 + seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / 30, 0.55 + 0.45 * math.cos(math.pi * step / steps)),
    )
    solved = 0
    for step in range(1, steps + 1):
        length = torch.randint(task.shortest, task.length + 1, (), generator=generator)
        input, answers = task.make(generator, ROWS, int(length))
        optimizer.zero_grad()
        loss_of(model(input), answers).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % CHECKED_EVERY == 0:
            found = accuracy(model, task, looks, 128, task.length)
            solved = solved + 1 if found >= SOLVED else 0
            if solved == 2:
                return step
    return steps


def cell(name: str, core: type[RecurrentCore], seed: int, steps: int) -> dict[str, Any]:
    """Train and score one core on one task."""
    task = TASKS[name]
    hidden_size = hidden_size_for(task, core, PARAMETERS)
    torch.manual_seed(seed)
    model = Answers(task, core, hidden_size)
    start = time.process_time()
    trained = train(model, task, seed, steps)
    seconds = time.process_time() - start
    found = [
        accuracy(model, task, Generator().manual_seed(20_000 + more), SCORED, more * task.length)
        for more in TIMES
    ]
    return {
        "task": name,
        "core": core.__name__,
        "seed": seed,
        "steps": steps,
        "trained_steps": trained,
        "hidden_size": hidden_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(seconds, 2),
        "accuracy": [round(share, 4) for share in found],
    }


def cells_of(path: Path) -> list[dict[str, Any]]:
    """Read the cells that are done; what a kill left of a line is not one."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole, _, rest = text.rpartition("\n")
    if rest:  # so that the next line begins a line
        path.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
    return [json.loads(row) for row in whole.splitlines()]


def main() -> None:
    """Train what is missing, print the tables."""
    cores = single_layers()
    arguments = parser(__doc__)
    arguments.add_argument("--out", type=Path, default=Path("abilities.jsonl"))
    arguments.add_argument("--resume", action="store_true", help="train what --out lacks")
    arguments.add_argument("--show", action="store_true", help="train nothing, show what there is")
    arguments.add_argument("--draw", type=Path, help="where to draw the picture, .svg or .png")
    arguments.add_argument("--cores", nargs="+", choices=sorted(cores), default=sorted(cores))
    arguments.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--steps", type=int, default=400, help="of training, at most")
    given = arguments.parse_args()
    rows = cells_of(given.out)
    if rows and not (given.resume or given.show):
        arguments.error(f"{given.out} is there: --resume it, --show it, or take another --out")
    if given.show and not rows:
        arguments.error(f"there is nothing in {given.out} to show")
    if not given.show and any(row["steps"] != given.steps for row in rows):
        arguments.error(f"{given.out} has cells of other --steps: take another --out")
    one_thread()
    torch.set_flush_denormal(True)
    if not given.show:
        done = {(row["seed"], row["core"], row["task"]) for row in rows}
        with given.out.open("a", encoding="utf-8") as file:
            for seed, core, task in product(given.seeds, given.cores, given.tasks):
                if (seed, core, task) not in done:
                    rows.append(cell(task, cores[core], seed, given.steps))
                    print(json.dumps(rows[-1]), file=file, flush=True)
    rows = [
        row
        for row in rows
        if row["seed"] in given.seeds and row["core"] in given.cores and row["task"] in given.tasks
    ]
    print_tables(rows)
    if given.draw:
        draw(rows, given.draw)
        print(f"\nThe picture is in {given.draw}.")


if __name__ == "__main__":
    main()
