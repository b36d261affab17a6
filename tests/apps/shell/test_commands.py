"""A file in `apps/` is a command: found, explained and called, named nowhere else."""

from __future__ import annotations

import itertools
from pathlib import Path

import new_command
import pytest
from unrolled.apps.shell import commands
from unrolled.apps.shell.help import main_help

# A file somebody adds. The function is `sum_`, for Python has a `sum` of its own.
NEW = '''"""Add numbers up.

More about it.
"""

from unrolled.errors import DataError


def sum_(first: int, *others: str, times: float = 1.0, loud: bool = False) -> int | None:
    """Add numbers up, and multiply.

    Exit code 7 where the sum is negative.

    Args:
        first: The first number.
        *others: The other numbers.
        times: What to multiply with.
        loud: true: with an exclamation mark.
    """
    if times == 0:
        raise DataError("times is 0.")
    if times < 0:
        raise ValueError("times=-1: must be positive.")
    total = times * (first + sum(map(int, others)))
    print(total, end="!\\n" if loud else "\\n")
    return 7 if total < 0 else None
'''
ASKED = {
    "the help of all": ["--help"],
    "its help": ["sum", "--help"],
    "words": ["sum", "3", "4", "5", "--times", "2", "--loud"],
    "a code": ["sum", "3", "-4"],
    "its error": ["sum", "3", "4", "--times", "0"],
    "a value that it refuses": ["sum", "3", "4", "--times", "-1"],
    "a word that is missing": ["sum"],
    "words that are missing": ["sum", "3"],
    "no number": ["sum", "x", "4"],
    "no flag": ["sum", "3", "4", "--tims", "2"],
    "no command": ["smu", "3"],
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, tuple[int, str, list[str]]]:
    """What a program with the new file answers."""
    folder = tmp_path_factory.mktemp("apps")
    (folder / "sum.py").write_text(NEW)
    (folder / "_shared.py").write_text("")
    (folder / "pictures").mkdir()
    return new_command.answers(folder, ASKED)


def test_it_is_found_without_being_imported(answers):
    code, text, imported = answers["the help of all"]
    assert code == 0
    assert "\n  sum       add numbers up\n" in text
    assert "_shared" not in text
    assert imported == []


def test_it_has_a_help(answers):
    assert answers["its help"][:2] == [
        0,
        "Usage: unrolled sum FIRST OTHER... [flags]\n\nAdd numbers up, and multiply.\n\n"
        "Exit code 7 where the sum is negative.\n\n"
        "  FIRST             The first number.\n"
        "  OTHER...          The other numbers.\n"
        "  --times           What to multiply with. [1.0]\n"
        "  --loud            true: with an exclamation mark. [false]\n",
    ]


@pytest.mark.parametrize(
    ("asked", "code", "text"),
    [
        ("words", 0, "24.0!\n"),
        ("a code", 7, "-1.0\n"),
        ("its error", 3, "unrolled: error: times is 0.\n"),
        ("a value that it refuses", 2, "unrolled: error: times=-1: must be positive.\n"),
        ("a word that is missing", 2, "unrolled: error: Missing: first. `unrolled sum --help`"),
        ("words that are missing", 2, "unrolled: error: Missing: others. `unrolled sum --help`"),
        ("no number", 2, "unrolled: error: --first: expected int, got 'x'.\n"),
        ("no flag", 2, "unrolled: error: There is no flag '--tims'. Did you mean '--times'?\n"),
        ("no command", 2, "unrolled: error: There is no command 'smu'. Did you mean 'sum'?\n"),
    ],
)  # fmt: skip
def test_it_is_called_and_its_errors_are_a_line(answers, asked, code, text):
    assert answers[asked][0] == code
    assert answers[asked][1].startswith(text)
    assert "torch" not in answers[asked][2]


def test_every_file_is_a_command_with_a_summary():
    files = {path.stem for path in Path(commands.__file__).parents[1].glob("*.py")} - {"__init__"}
    found = commands.summaries()
    assert found.keys() == files
    assert all(found.values())
    assert len(main_help(found).splitlines()) < 40


def test_words_may_stand_behind_flags():
    def say(model: str, file: str = "-", other: str | None = None, *, size: int = 1) -> None: ...

    for words in itertools.permutations(["a", "b c"]):
        for at in range(3):
            given = [*words[:at], "--size", "-3", *words[at:]]
            call = commands.bound("say", say, given)
            assert (*call.args, call.keywords) == (*words, None, {"size": -3})
