"""Every task on data that is written in no time and trained on in seconds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corpora import learnable_videos, write_ms_tcn, write_pairs

WORDS = dict(
    zip(("der", "hund", "die", "katze", "ein", "mann", "sieht", "zwei"), "abcdefgh", strict=True)
)


def write_text(folder: Path) -> None:
    text = "".join(f"line {n}: {n * n % 97} {n % 7 * 'la '}\n" for n in range(120))
    # 90 % are for training, in 4 streams with chunks of 16: the last batch has one symbol, for the
    # second process.
    length = next(length for length in range(len(text), 0, -1) if length * 9 // 10 % (4 * 16) == 1)
    (folder / "text.txt").write_text(text[:length])


def write_sentences(folder: Path) -> None:
    """Write 33 sentences to train on and 7 to validate: shares of the two processes differ."""
    draw = random.Random(0)
    for part, count in {"train": 33, "val": 7}.items():
        sentences = [draw.choices(list(WORDS), k=draw.randint(1, 7)) for _ in range(count)]
        pairs = [(" ".join(words), " ".join(map(WORDS.get, words))) for words in sentences]
        write_pairs(folder, part, pairs)


def write_videos(folder: Path) -> None:
    """Write nine videos: four rows have unequal shares, and validation has an odd number."""
    videos = learnable_videos(9, segments=9, longest=8, features=4, noise=0.5)
    write_ms_tcn(folder, videos, test=["v8"])


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
        write_sentences,
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

# What a resumed run could lose. Schedules and averages are in the configurations.
RANDOM = {
    "char_lm": (
        *("--data.batch_size", "4", "--model.embedding_dropout", "0.1"),
        *("--model.output_dropout", "0.4"),
    ),
    "translation": (
        *("--data.batch_size", "4", "--model.dropout", "0.3", "--model.scheduled_sampling", "0.5"),
    ),
    "captioning": (
        *("--data.batch_size", "4", "--model.scheduled_sampling", "0.5", "--model.dropout", "0.3"),
    ),
    "video": (
        *("--data.batch_size", "2", "--model.input_noise", "0.3", "--model.output_dropout", "0.4"),
        # it sees no whole video, of which torchmetrics warns
        *("--trainer.num_sanity_val_steps", "0"),
    ),
}


def random_fit(case: Case, name: str, *more: str) -> list[str]:
    """Return the command line of a run that draws random numbers in every way it can."""
    cpu = ("--trainer.accelerator", "cpu")
    return ["fit", case.variant, "--name", name, *case.flags, *RANDOM[case.task], *cpu, *more]
