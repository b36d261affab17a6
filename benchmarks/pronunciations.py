"""A pronunciation list, learnt with `fit translation/parallel` and nothing else.

The words are made up, and spelt by rules of the kind that English has (a c before e, a silent e
that makes the vowel before it long, two letters for one sound), so that every pronunciation can be
known. Prints a Markdown table of the test part: exact matches, BLEU, and phoneme errors in percent,
for each size of the vocabulary.

    python benchmarks/pronunciations.py --sizes null,8000
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

_STARTS = (  # noqa: SIM905 # reads best as words
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k kn l m n p ph pl pr qu r s sc sh sk sl sm sn "
    "sp st str sw t th tr v w wh wr y z"
).split()
_VOWELS = "a e i o u a e i o u ai ay ea ee oa oo ou ow oi au ar er or igh".split()  # noqa: SIM905
_ENDS = (  # noqa: SIM905
    "b ck d ft g ll lt m mp n nd ng nk nt p r rm rn s sh ss st t th x tch ve"
).split()
_GROUPS = {
    **{"tch": "CH", "igh": "AY", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W"},
    **{"wr": "R", "kn": "N", "qu": "K W", "ck": "K", "ng": "NG", "nk": "NG K", "ai": "EY"},
    **{"ay": "EY", "ea": "IY", "ee": "IY", "oa": "OW", "oo": "UW", "ou": "AW", "ow": "OW"},
    **{"oi": "OY", "au": "AO", "ar": "AA R", "er": "ER", "or": "AO R", "ll": "L", "ss": "S"},
}
_SHORT = {"a": "AE", "e": "EH", "i": "IH", "o": "AA", "u": "AH"}
_LONG = {"a": "EY", "e": "IY", "i": "AY", "o": "OW", "u": "UW"}
_LETTERS = {"h": "HH", "j": "JH", "x": "K S", "q": "K"}


def spoken(word: str) -> str:
    """Return the phonemes of a word, with spaces in between.

    Args:
        word: Its letters.
    """
    phonemes: list[str] = []
    place = 0
    while place < len(word):
        group = next(
            (word[place : place + n] for n in (3, 2) if word[place : place + n] in _GROUPS), ""
        )
        letter, after = word[place], word[place + 1 : place + 2]
        if group:
            phonemes.append(_GROUPS[group])
        elif letter == "c":
            phonemes.append("S" if after in ("e", "i", "y") else "K")
        elif letter == "g":
            phonemes.append("JH" if after in ("e", "i") else "G")
        elif letter == "e" and place == len(word) - 1 > 1:
            pass  # silent
        elif letter in _SHORT:
            long = place + 3 == len(word) and word[-1] == "e" and after not in _SHORT
            phonemes.append((_LONG if long else _SHORT)[letter])
        else:
            phonemes.append(_LETTERS.get(letter, letter.upper()))
        place += len(group) or 1
    return " ".join(phonemes)


def pronunciations(count: int) -> list[tuple[str, str]]:
    """Return different words of 3 to 13 letters, each with its phonemes.

    Args:
        count: How many.
    """
    draw = random.Random(0)
    words: dict[str, str] = {}
    while len(words) < count:
        word = "".join(
            draw.choice([*_STARTS, ""]) + draw.choice(_VOWELS) + draw.choice([*_ENDS, *[""] * 14])
            for _ in range(draw.choices((1, 2, 3), (2, 5, 3))[0])
        )
        if draw.random() < 0.25 and word[-1] not in _SHORT:
            word += "e"
        if 2 < len(word) < 14:
            words[word] = spoken(word)
    return list(words.items())


def _write(folder: Path, count: int, held_out: int) -> None:
    rows = pronunciations(count + 2 * held_out)
    parts = {
        "val": rows[:held_out],
        "test": rows[held_out : 2 * held_out],
        "train": rows[2 * held_out :],
    }
    for part, each in parts.items():
        lines = "".join(f"{word}\t{phonemes}\n" for word, phonemes in each)
        (folder / f"{part}.tsv").write_text(f"word\tphonemes\n{lines}", encoding="utf-8")


def _run(folder: Path, command: str, *flags: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "unrolled", command, *flags],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return done.stdout


def _scores(folder: Path, size: str, flags: list[str]) -> list[str]:
    name = f"size_{size}"
    data = [
        *("--data.source", "word", "--data.target", "phonemes"),
        *(f"--data.{part}={part}.tsv" for part in ("train", "val", "test")),
    ]
    chosen = [] if size == "null" else ["--data.vocabulary_size", size]
    _run(folder, "fit", "translation/parallel", "--name", name, *data, *chosen, *flags)
    model = f"runs/translation/{name}"
    lines = (folder / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    sides = [line.split("\t") for line in lines]
    for side, file in enumerate(("words.txt", "right.txt")):
        text = "".join(f"{both[side]}\n" for both in sides)
        (folder / file).write_text(text, encoding="utf-8")
    said = _run(folder, "translate", model, "words.txt").splitlines()
    from unrolled.tasks.metrics import PhonemeErrorRate, SacreBLEU

    right = [both[1] for both in sides]
    bleu, errors = SacreBLEU(), PhonemeErrorRate()
    bleu.update(said, right)
    errors.update(said, right)
    exact = 100 * sum(a == b for a, b in zip(said, right, strict=True)) / len(right)
    return [
        f"{exact:.1f}",
        f"{float(bleu.compute()['bleu']):.1f}",
        f"{float(errors.compute()):.1f}",
    ]


def main() -> None:
    """Print the table."""
    from measure import head, introduce, line, parser

    options = parser(__doc__)
    options.add_argument("--words", type=int, default=3600, help="to train on")
    options.add_argument("--held_out", type=int, default=400, help="of validation, and of test")
    options.add_argument("--sizes", default="null,8000", help="of the vocabulary")
    arguments, flags = options.parse_known_args()
    introduce(f"{arguments.words:,} words and their phonemes")
    head("vocabulary_size", "exact, %", "BLEU", "phoneme errors, %")
    with tempfile.TemporaryDirectory() as made:
        _write(Path(made), arguments.words, arguments.held_out)
        for size in arguments.sizes.split(","):
            line(size, *_scores(Path(made), size, flags))


if __name__ == "__main__":
    main()
