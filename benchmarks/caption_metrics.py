"""How fast captions are scored, and how far the scores are from those of coco-caption's own programs.

The speed is that of made-up captions (10 to 15 words of a vocabulary of 10,000, as frequent as
words are), one thread. The differences need a file with captions and the scores that coco-caption
gave them.

    python benchmarks/caption_metrics.py [--golden coco_caption_126.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from unrolled.tasks.metrics import CaptionScores, CiderD

GOLDEN = (
    Path(__file__).resolve().parents[1].parent
    / "shared"
    / "data"
    / "golden"
    / "coco_caption_126.json"
)
NAMES = {
    "bleu1": "Bleu_1",
    "bleu2": "Bleu_2",
    "bleu3": "Bleu_3",
    "bleu4": "Bleu_4",
    "rouge_l": "ROUGE_L",
    "cider_d": "CIDEr",
}


def made_up(count: int, random: np.random.Generator) -> list[str]:
    """Captions of words with Zipf's frequencies."""
    frequency = 1 / np.arange(1, 10_001)
    words = random.choice(10_000, (count, 15), p=frequency / frequency.sum())
    lengths = random.integers(10, 16, count)
    return [
        " ".join(f"word{w}" for w in row[:length]) + "."
        for row, length in zip(words.tolist(), lengths, strict=True)
    ]


def seconds(run: Callable[[], object], repeats: int) -> str:
    """Median and range of the processor's time that a function takes: a busy machine does not change it much."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"


def speed(repeats: int) -> None:
    """Print the times."""
    random = np.random.default_rng(0)
    texts = made_up(30_000, random)
    candidates, references = texts[:5000], [texts[5000 + 5 * n : 5005 + 5 * n] for n in range(5000)]

    def whole_set() -> None:
        metric = CaptionScores()
        metric.update(candidates, references)
        metric.compute()

    scorer = CiderD.from_references(references)
    drawn = [text for text in candidates[:64] for _ in range(5)]
    wanted = [texts for texts in references[:64] for _ in range(5)]
    print(
        f"Python {platform.python_version()}, {platform.machine()}, one thread, {repeats} repeats, seed 0\n"
    )
    print("| what | processor time, median (range) |\n|---|---|")
    whole, reward = (
        seconds(whole_set, repeats),
        seconds(lambda: scorer.scores(drawn, wanted), repeats),
    )
    print(f"| all scores of 5,000 captions with 5 references each | {whole} |")
    print(f"| CIDEr-D reward of 5 captions for each of 64 images | {reward} |")


def differences(golden: Path) -> None:
    """Print how far the scores are from the official ones."""
    data = json.loads(golden.read_text())
    print(
        "\n| score | coco-caption | difference from raw text | from its tokens |\n|---|---|---|---|"
    )
    ours, each = {}, {}
    for kind in ("raw", "tok"):
        references = list(data[f"gts_{kind}"].values())
        candidates = [data[f"res_{kind}"][key][0] for key in data[f"gts_{kind}"]]
        metric = CaptionScores()
        metric.update(candidates, references)
        ours[kind] = {name: float(value) for name, value in metric.compute().items()}
        scores = CiderD.from_references(references).scores(candidates, references)
        each[kind] = max(abs(a - b) for a, b in zip(scores, data["cider_per_image"], strict=True))
    for name, theirs in NAMES.items():
        official = data["scores"][theirs]
        raw, tokens = (abs(ours[kind][name] - official) for kind in ("raw", "tok"))
        print(f"| {name} | {official:.6f} | {raw:.1e} | {tokens:.1e} |")
    print(f"| cider_d of each image, the largest | | {each['raw']:.1e} | {each['tok']:.1e} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--golden", type=Path, default=GOLDEN)
    arguments = parser.parse_args()
    speed(arguments.repeats)
    if arguments.golden.exists():
        differences(arguments.golden)
    else:
        print(f"\nNo {arguments.golden}: give a file with --golden.")


if __name__ == "__main__":
    main()
