"""How fast captions are scored, and how far the scores are from coco-caption's own.

The speed is that of made-up captions (10 to 15 words of a vocabulary of 10,000, as frequent as
words are), one thread. The differences need a file with captions and the scores that coco-caption
gave them.

    python benchmarks/caption_metrics.py [--golden coco_caption_126.json]
"""

from __future__ import annotations

import json
import platform
from functools import partial
from pathlib import Path

import numpy as np
from measure import cpu_seconds, head, line, one_thread, parser, spread
from unrolled.tasks.metrics import CaptionScores, CiderD

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
NAMES = {
    "bleu1": "Bleu_1",
    "bleu2": "Bleu_2",
    "bleu3": "Bleu_3",
    "bleu4": "Bleu_4",
    "rouge_l": "ROUGE_L",
    "cider_d": "CIDEr",
}


def made_up(count: int, random: np.random.Generator) -> list[str]:
    """Make captions of words with Zipf's frequencies."""
    frequency = 1 / np.arange(1, 10_001)
    words = random.choice(10_000, (count, 15), p=frequency / frequency.sum())
    lengths = random.integers(10, 16, count)
    return [
        " ".join(f"word{w}" for w in row[:length]) + "."
        for row, length in zip(words.tolist(), lengths, strict=True)
    ]


def speed(repeats: int, count: int) -> None:
    """Print the times."""
    texts = made_up(6 * count, np.random.default_rng(0))
    candidates = texts[:count]
    references = [texts[count + 5 * n : count + 5 * n + 5] for n in range(count)]

    def whole_set() -> None:
        metric = CaptionScores()
        metric.update(candidates, references)
        metric.compute()

    scorer = CiderD.from_references(references)
    drawn = [text for text in candidates[:64] for _ in range(5)]
    wanted = [texts for texts in references[:64] for _ in range(5)]
    reward = partial(scorer.scores, drawn, wanted)
    print(f"Python {platform.python_version()}, {platform.machine()}, one thread, ", end="")
    print(f"{repeats} repeats, seed 0\n")
    head("what", "processor time, median (range)")
    for what, call in (
        (f"all scores of {count:,} captions with 5 references each", whole_set),
        (f"CIDEr-D reward of 5 captions for each of {len(drawn) // 5} images", reward),
    ):
        line(what, spread([cpu_seconds(call) for _ in range(repeats)], ".2f", " s"))


def differences(golden: Path) -> None:
    """Print how far the scores are from the official ones."""
    data = json.loads(golden.read_text())
    print()
    head("score", "coco-caption", "difference from raw text", "from its tokens")
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
        line(name, f"{official:.6f}", f"{raw:.1e}", f"{tokens:.1e}")
    line("cider_d of each image, the largest", "", f"{each['raw']:.1e}", f"{each['tok']:.1e}")


def main() -> None:
    """Print the tables."""
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--captions", type=int, default=5000, help="how many are scored")
    golden = SHARED / "golden" / "coco_caption_126.json"
    options.add_argument("--golden", type=Path, default=golden)
    arguments = options.parse_args()
    one_thread()
    speed(arguments.repeats, arguments.captions)
    if arguments.golden.exists():
        differences(arguments.golden)
    else:
        print(f"\nNo {arguments.golden}: give a file with --golden.")


if __name__ == "__main__":
    main()
