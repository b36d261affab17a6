"""Every task on data that is written in no time and trained on in seconds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORDS = dict(
    zip(("der", "hund", "die", "katze", "ein", "mann", "sieht", "zwei"), "abcdefgh", strict=True)
)
CLASSES = ["rest", "cut", "mix"]


def write_text(folder: Path) -> None:
    text = "".join(f"line {n}: {n * n % 97} {n % 7 * 'la '}\n" for n in range(120))
    # 90 % are for training, in 4 streams with chunks of 16: the last batch has one symbol, for the
    # second process.
    length = next(length for length in range(len(text), 0, -1) if length * 9 // 10 % (4 * 16) == 1)
    (folder / "text.txt").write_text(text[:length])


def write_pairs(folder: Path) -> None:
    """Write 33 sentences to train on, 7 for validation: shares of the two processes differ."""
    draw = random.Random(0)
    for part, count in {"train": 33, "val": 7}.items():
        sentences = [draw.choices(list(WORDS), k=draw.randint(1, 7)) for _ in range(count)]
        (folder / f"{part}.de").write_text("".join(f"{' '.join(words)}\n" for words in sentences))
        (folder / f"{part}.en").write_text(
            "".join(f"{' '.join(map(WORDS.get, words))}\n" for words in sentences)
        )


def write_videos(folder: Path) -> None:
    """Write nine videos in the layout of MS-TCN: rows have unequal shares, validation is odd."""
    draw = np.random.default_rng(0)
    for name in ("features", "groundTruth", "splits"):
        (folder / name).mkdir()
    (folder / "mapping.txt").write_text(
        "".join(f"{number} {name}\n" for number, name in enumerate(CLASSES))
    )
    for number in range(9):
        labels = np.repeat(draw.integers(3, size=9), draw.integers(2, 9, size=9))
        features = np.eye(4)[labels] + 0.5 * draw.normal(size=(len(labels), 4))
        np.save(folder / "features" / f"v{number}.npy", features.T.astype(np.float32))
        (folder / "groundTruth" / f"v{number}.txt").write_text(
            "".join(f"{CLASSES[label]}\n" for label in labels)
        )
    for part, names in {"train": range(8), "test": [8]}.items():
        (folder / "splits" / f"{part}.split1.bundle").write_text(
            "".join(f"v{number}.txt\n" for number in names)
        )


@dataclass(frozen=True)
class Case:
    """A task on small data.

    Attributes:
        variant: The configuration.
        write: Writes the data into a folder, which is the working folder of the runs.
        flags: What makes the run small, and free of random numbers that a process draws for itself.
    """

    variant: str
    write: Callable[[Path], None]
    flags: tuple[str, ...]

    @property
    def task(self) -> str:
        return self.variant.partition("/")[0]


CASES = (
    Case(
        "char_lm/text",
        write_text,
        (
            *("--data.path", "text.txt", "--data.chunk_length", "16"),
            *("--model.core.hidden_size", "12"),
            *("--model.embedding_dropout", "0", "--model.input_dropout", "0"),
            *("--model.output_dropout", "0"),
            *("--model.activation_regularization", "0.5"),
            *("--model.temporal_activation_regularization", "0.5"),
        ),
    ),
    Case(
        "translation/parallel",
        write_pairs,
        (
            *("--data.root", ".", "--data.source", "de", "--data.target", "en"),
            *("--data.vocabulary_size", "50"),
            *("--data.batch_tokens", "null", "--model.encoder.core.hidden_size", "6"),
            *("--model.embedding_size", "8"),
            *("--model.decoder.hidden_size", "8", "--model.dropout", "0"),
        ),
    ),
    Case(
        "captioning",
        lambda folder: None,
        (
            # 26 images: the last batch has two, and none for the second process; validation has an
            # odd number
            *("--data.train_size", "26", "--data.val_size", "5"),
            *("--model.encoder.backbone.channels", "[4,4,6,6]"),
            *("--model.decoder.hidden_size", "6", "--model.embedding_size", "5"),
            *("--model.max_length", "8"),
            *("--model.doubly_stochastic", "0.5", "--trainer.check_val_every_n_epoch", "1"),
        ),
    ),
    Case(
        "video/segmentation",
        write_videos,
        (
            *("--data.root", ".", "--data.chunk_length", "6", "--data.eval_chunk_length", "7"),
            *("--data.val_fraction", "0.375", "--data.background", "[rest]", "--model.core", "GRU"),
            *("--model.core.hidden_size", "6", "--model.input_noise", "0"),
            *("--model.input_dropout", "0", "--model.output_dropout", "0"),
        ),
    ),
)
