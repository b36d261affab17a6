"""What can go wrong, by whose fault it is: the command line turns each class into its exit code.

A message is one or two lines: the thing, the rule, the remedy.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import reprlib
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

_NEAR = 200  # characters of names that are compared: the time grows with their square


class UnrolledError(Exception):
    """An error with a message for a person; the command line prints it without a traceback."""

    exit_code = 1


class UsageError(UnrolledError, ValueError):
    """The command or the configuration asks for something that does not exist or does not fit."""

    exit_code = 2


class DataError(UnrolledError, ValueError):
    """A file is missing, damaged or not what it should be."""

    exit_code = 3


class SetupError(UnrolledError, RuntimeError):
    """Something on this machine is missing or broken."""

    exit_code = 4


def not_installed(package: str, extra: str | None, what: str = "This") -> SetupError:
    """Return the error about a package that is not needed by everybody.

    Args:
        package: What was to be imported.
        extra: The extra that brings it; None: none does.
        what: What needs it.
    """
    return SetupError(
        f"{what} needs {package}, which is not installed.\n{installing(package, extra)}"
    )


def installing(package: str, extra: str | None) -> str:
    """Say what installs a package.

    Args:
        package: The package.
        extra: The extra that brings it; None: none does.
    """
    if extra is None:
        return f"Try: pip install {package}"
    return f"In the clone of unrolled: pip install -e '.[{extra}]'"


def a(kind: type, *, capital: bool = False) -> str:
    """Name a class behind its article: `a CharModel`, `an LSTM`.

    Args:
        kind: The class.
        capital: Whether a sentence begins so.
    """
    name = kind.__name__
    # a letter that is spoken by itself, as in LSTM, sounds as its name does
    spelt = name[1:2].isupper() and name[0] in "FHLMNRSX"
    article = "an" if spelt or name[0] in "AEIOaeio" else "a"
    return f"{article.capitalize() if capital else article} {name}"


def at_least(least: float, **settings: float | None) -> None:
    """Refuse settings that are too small.

    Args:
        least: The smallest value there is.
        settings: The values by name; None is nothing to look at.

    Raises:
        UsageError: One of them is smaller.
    """
    for name, value in settings.items():
        if value is not None and value < least:
            raise UsageError(f"{name} is {value}; it has to be at least {least}.")


def printable(text: str) -> str:
    """Return text without what a terminal obeys: a file may have come from anybody.

    Args:
        text: Any text; lines stay lines.
    """
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def quoted(said: object, longest: int = 60) -> str:
    """Return what a file says as a message may quote it: in one line, and not too much of it.

    Args:
        said: Text, or any plain data.
        longest: Characters at most.
    """
    text = said[: longest + 1] if isinstance(said, str) else reprlib.repr(said)
    text = text.replace("\n", r"\n")
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def some(said: Iterable[object], most: int = 10) -> str:
    """Return the first of many things that a file says, as a message may list them.

    Args:
        said: The things.
        most: How many are named; the others are counted.
    """
    listed = list(said)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(map(quoted, listed[:most])) + more


def one_line(value: object) -> str:
    """Return a name, label or caption as it is printed: one printable line on a terminal.

    Args:
        value: What to print; into a file or a pipe it goes as it is.
    """
    return printable(str(value)).replace("\n", r"\n") if sys.stdout.isatty() else str(value)


def typed(value: object) -> str:
    """Return a path or a name as a command that is told has it: quoted where a shell would part it.

    Args:
        value: The path or the name.
    """
    return shlex.quote(one_line(value))


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the choice nearest to a name, or nothing when none is near.

    Args:
        name: What was given.
        choices: What would have been right.
    """
    by_lower = {choice.lower(): choice for choice in choices if len(choice) <= _NEAR}
    near = difflib.get_close_matches(name.lower()[:_NEAR], by_lower, n=1, cutoff=0.6)
    return f" Did you mean '{quoted(by_lower[near[0]], _NEAR)}'?" if near else ""


def lies_here(name: str) -> str:
    """Say how a class is found whose package lies in the current folder; nothing if it does not.

    The folder is not searched by itself: what was downloaded there would be imported.

    Args:
        name: The full name of the class, or of its module.
    """
    package = name.partition(".")[0]
    here = Path(f"{package}.py").is_file() or Path(package, "__init__.py").is_file()
    if not package.isidentifier() or not here or importlib.util.find_spec(package):
        return ""
    return f" '{package}' lies in this folder: begin the command with PYTHONPATH=. to have it."
