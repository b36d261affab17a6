"""How errors name things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from unrolled.core import LSTM, MinGRU
from unrolled.errors import a, typed
from unrolled.tasks import CharModel

ROOT = Path(__file__).resolve().parent.parent


class ExportedModel:
    """As those of exported folders are called."""


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (CharModel, "a CharModel"),
        (ExportedModel, "an ExportedModel"),
        (LSTM, "an LSTM"),
        (MinGRU, "a MinGRU"),
        (int, "an int"),
    ],
)
def test_a_class_stands_behind_its_article(kind, named):
    assert a(kind) == named
    assert a(kind, capital=True) == named.replace("a", "A", 1)


def test_no_message_puts_an_article_before_a_class_by_itself():
    for folder in ("apps", "data", "tasks"):
        for file in (ROOT / folder).rglob("*.py"):
            found = re.findall(r"\b[aA]n? \{[^}]*__name__\}", file.read_text(encoding="utf-8"))
            assert not found, f"{file}: {found}; say it with errors.a"


def test_a_path_is_told_as_a_shell_takes_it():
    assert typed(Path("runs/char_lm/1")) == "runs/char_lm/1"
    assert typed("my texts/größe's.txt") == "'my texts/größe'\"'\"'s.txt'"
