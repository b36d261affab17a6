"""What torchtext is asked, and what it answered: the golden file of `unrolled.data.torchtext`.

As a script it asks torchtext itself, in the environment of `make test-torchtext`, and writes
`tests/data/torchtext/golden.json` anew:

    .venv-torchtext/bin/python tests/helpers/torchtext_cases.py
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

GOLDEN = Path(__file__).parents[1] / "data" / "torchtext" / "golden.json"

SENTENCES = [
    "The unrolled network (the same weights at every step) reads: one, two, three.",
    'It doesn\'t forget! Does it? "Never", it says; <br />and then it does...',
    "THE  END\tof the\u00a0line\n",
    "",
    "É\u0130 ÇA l'été — 3.14 e-mail a@b.c <BR /> <br/> (((?!)))''\"\"",
    'x<br "/>y z:w;v',
    "ein Satz, der keinem Englisch gleicht: größer, größer, größer.",
    "日本語 の 文 。 नमस्ते दुनिया !",
    "\x1c\u2003\u3000 spaces of every kind \u200b\ufeff",
]
TOKENS = [
    "the cat sat on the mat".split(),
    "the dog sat on the log".split(),
    ["Zebra", "apple", "zebra", "Ähre", "apple", "\U0001f642", "", " ", "the"],
    [],
]
BUILDS: list[dict[str, Any]] = [
    {},
    {"min_freq": 2},
    {"specials": ["<unk>", "<pad>"]},
    {"specials": ["<unk>", "the"], "special_first": False},
    {"specials": ["<unk>"], "max_tokens": 4},
    {"specials": ["the", "<unk>"], "max_tokens": 5, "min_freq": 2},
    {"max_tokens": 3, "special_first": False},
    {"max_tokens": 100, "min_freq": 3, "specials": ["<s>"]},
]
COUNTS = [("b", 2), ("a", 5), ("rare", 1), ("<unk>", 9), ("c", 2)]
VOCABS: list[dict[str, Any]] = [
    {},
    {"min_freq": 2},
    {"min_freq": 2, "specials": ["<unk>", "z"]},
    {"specials": ["<unk>", "z"], "special_first": False},
]
FILES: dict[str, bytes] = {
    "glove.txt": b"the 0.5 -1.25 3e-2\nof 1 2 3\n, 0 0 0.1\n\xc3\xa9t\xc3\xa9 -1 -2 -3\n",
    "fasttext.vec": b"4 3\n</s> 0.1 0.2 0.3 \nthe 1 2 3 \nThe 4 5 6 \nof 7 8 9 \n",
    "twice.txt": b"a 1 1 1\nb 2 2 2\na 3 3 3\n",
    "not_utf8.txt": b"a 1 1 1\n\xff\xfe 2 2 2\nb 3 3 3\n",
    "no_end.txt": b"a 1 1 1\nb 2 2 2",
    "windows.txt": b"a 1 1 1\r\nb 2 2 2\r\n",
    "spaces.txt": b"New\xc2\xa0York 1 1 1\na\xe3\x80\x80b 2 2 2\n",
    "numbers.txt": b"5 1 2 3\n10 4 5 6\n",
}
ASKED = ["the", "The", "THE", "of", "a", "b", "été", "New\u00a0York", "5", "</s>", "nowhere"]


def _or_error(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (RuntimeError, AssertionError, ValueError):
        return "refused"


def _about(vocab: Any) -> dict[str, Any]:
    """Return what a vocabulary says of itself; it is changed on the way."""
    found: dict[str, Any] = {
        "itos": vocab.get_itos(),
        "stoi": sorted(vocab.get_stoi().items()),
        "length": len(vocab),
        "has": ["the" in vocab, "unheard of" in vocab],
        "default": vocab.get_default_index(),
        "unknown": _or_error(lambda: vocab["unheard of"]),
        "past the end": _or_error(vocab.lookup_token, len(vocab)),
        "before the beginning": _or_error(vocab.lookup_token, -1),
    }
    vocab.set_default_index(0)
    found["with a default"] = [
        vocab["unheard of"],
        vocab.lookup_indices(["unheard of", vocab.lookup_token(len(vocab) - 1)]),
        vocab(vocab.lookup_tokens([0, len(vocab) - 1])),
        vocab.forward(["unheard of"]),
        vocab.get_default_index(),
    ]
    vocab.insert_token("first", 0)
    vocab.append_token("last")
    found["longer"] = vocab.get_itos()
    found["its numbers"] = sorted(vocab.get_stoi().items())
    found["twice"] = _or_error(vocab.append_token, "last")
    found["too far"] = _or_error(vocab.insert_token, "x", len(vocab) + 1)
    found["at the end"] = [_or_error(vocab.insert_token, "x", len(vocab)), vocab.get_itos()]
    vocab.set_default_index(None)
    found["no default"] = _or_error(vocab.lookup_indices, ["unheard of"])
    return found


def _about_vectors(vectors: Any) -> dict[str, Any]:
    return {
        "itos": vectors.itos,
        "stoi": sorted(vectors.stoi.items()),
        "dim": vectors.dim,
        # torchtext has a row of zeros too many for each word that is not UTF-8
        "vectors": vectors.vectors[: len(vectors.itos)].tolist(),
        "asked": [vectors[word].tolist() for word in ASKED],
        "together": vectors.get_vecs_by_tokens(ASKED, lower_case_backup=True).tolist(),
        "one": vectors.get_vecs_by_tokens("the").tolist(),
    }


class Library(NamedTuple):
    """What is asked.

    Attributes:
        vocab: `torchtext.vocab.vocab`, or what answers in its place; so the others.
        build_vocab_from_iterator: Of `torchtext.vocab`.
        Vectors: Of `torchtext.vocab`.
        get_tokenizer: Of `torchtext.data.utils`.
    """

    vocab: Any
    build_vocab_from_iterator: Any
    Vectors: Any
    get_tokenizer: Any


def torchtext_itself() -> Library:
    import torchtext

    torchtext.disable_torchtext_deprecation_warning()
    from torchtext.data.utils import get_tokenizer
    from torchtext.vocab import Vectors, build_vocab_from_iterator, vocab

    def read(name: str, **settings: Any) -> Any:
        # it leaves what it read in a folder, and takes it from there the next time
        with tempfile.TemporaryDirectory() as folder:
            return Vectors(name, cache=folder, **settings)

    return Library(vocab, build_vocab_from_iterator, read, get_tokenizer)


def answers(library: Library) -> dict[str, Any]:
    """Ask everything, and return the answers as plain data."""
    tokenize, split = map(library.get_tokenizer, ("basic_english", None))
    found: dict[str, Any] = {
        "basic_english": [tokenize(text) for text in SENTENCES],
        "split": [split(text) for text in SENTENCES],
        "built": [
            _about(library.build_vocab_from_iterator(iter(TOKENS), **settings))
            for settings in BUILDS
        ],
        "counted": [_about(library.vocab(OrderedDict(COUNTS), **how)) for how in VOCABS],
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a header, in torchtext
        for name, content in FILES.items():
            file = Path(folder, name)
            file.write_bytes(content)
            found[name] = _about_vectors(library.Vectors(str(file)))
            found[f"two of {name}"] = _about_vectors(library.Vectors(str(file), max_vectors=2))
            ones = library.Vectors(str(file), unk_init=lambda new: new.fill_(1.0))
            found[f"ones for {name}"] = ones["nowhere"].tolist()
    return json.loads(json.dumps(found))


if __name__ == "__main__":
    import torchtext

    text = json.dumps(answers(torchtext_itself()), separators=(",", ":"))
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(f"{text}\n", encoding="utf-8")
    print(f"{GOLDEN}: {len(text):,} characters, by torchtext {torchtext.__version__}")
