"""The table of commands: a file directly in `apps/` is one, found by being there.

The first line of the file says what it does, for `unrolled --help`. Its public function that is
named like the file (`list_` in `list.py`: a name of Python's gets an underscore) is the command:
positional parameters are words of the command line, keyword-only ones are flags, and the function's
docstring is its help.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ... import apps
from ...errors import UnrolledError, UsageError
from .help import function_help

Command = Callable[..., int | None]


def files() -> dict[str, Path]:
    """Return the file of each command, by its name."""
    found = sorted(path for folder in apps.__path__ for path in Path(folder).glob("[!_]*.py"))
    return {path.stem: path for path in found}


def summaries() -> dict[str, str]:
    """Return what each command does, by its name; no command is imported."""
    return {name: summary(path) for name, path in files().items()}


def summary(path: Path) -> str:
    """Return what a file says that it does, in its first line.

    Args:
        path: A file of a command, or of what a command has several of.
    """
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = docstring.partition("\n")[0].removesuffix(".")
    return f"{line[:1].lower()}{line[1:]}"


def carry_out(command: str, words: list[str]) -> int:
    """Call a command with the arguments that a command line gives it, and return its exit code.

    Args:
        command: Its name, one of `files`.
        words: What follows it.

    Raises:
        UsageError: The words and flags are not the command's, or it refuses their values.
    """
    function = function_of(f"..{command}", command)
    # one whose words depend on its first binds them itself
    whole = getattr(sys.modules[function.__module__], "carry_out", None)
    if whole is None and ("--help" in words or "-h" in words):
        print(function_help(command, function))
        return 0
    if hasattr(sys.stdout, "reconfigure"):
        # a terminal may not know every character of the model
        sys.stdout.reconfigure(errors="replace")
    call = partial(whole, words) if whole else bound(command, function, words)
    try:
        return call() or 0
    except UnrolledError:
        raise
    except ValueError as error:  # what a model says of a setting that it can't work with
        raise UsageError(str(error)) from error


def function_of(module: str, name: str) -> Command:
    """Return the function that a file is there for.

    Args:
        module: The file's module, relative to this room.
        name: The name of the file.
    """
    found = import_module(module, __package__)
    function: Command = getattr(found, name, None) or getattr(found, f"{name}_")
    return function


def bound(command: str, function: Command, words: list[str]) -> Command:
    """Return a function with the arguments that a command line gives it.

    Optional positional parameters have a default; `*paths` takes all words that are left. A
    positional parameter that may be called with an object as well (a model) gets its word as text.

    Args:
        command: What messages call it.
        function: The function.
        words: The words and flags.

    Raises:
        UsageError: They are not the function's.
    """
    parameters = inspect.signature(function).parameters.values()
    several = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    single = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    optional = [p for p in single if p.default is not p.empty]
    text = all(
        _takes_text(p.annotation) if p in single else p.default is not p.empty for p in parameters
    )
    enough = len(single) - len(optional) <= len(words) <= len(single)
    if text and enough and not any(word.startswith("-") for word in words):
        return partial(function, *words)  # there is nothing to parse
    if len(single) == len(parameters) < len(words):
        most = f"{len(single)} word(s) at most" if single else "no arguments"
        raise UsageError(f"`unrolled {command}` takes {most}, and got: {' '.join(words)}")
    from .arguments import Parser

    parser = Parser(prog=f"unrolled {command}")
    # jsonargparse would make flags of optional ones, and objects of words
    own = single if all(_takes_text(p.annotation) for p in single) else optional
    skip: set[str | int] = {*several, *(p.name for p in own)}
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip=skip)
    for parameter in own:
        if parameter in optional:
            parser.add_argument(parameter.name, type=str, nargs="?", default=parameter.default)
        else:
            parser.add_argument(parameter.name, type=str)
    for name in several:
        parser.add_argument(name, type=str, nargs="*", default=[])
    switches = {f"--{p.name}" for p in parameters if isinstance(p.default, bool)}
    for place in reversed(range(len(words))):  # `--scores` alone means `--scores true`
        if words[place] in switches and [*words, ""][place + 1] not in ("true", "false"):
            words = [*words[: place + 1], "true", *words[place + 1 :]]
    words = _words_first(words)
    given = parser.parse_args(words).as_dict()
    rest = [word for name in several for word in given.pop(name) or []]
    if several and not rest:
        raise UsageError(
            f"Missing: {several[0]}. `unrolled {command} --help` says what is expected."
        )
    positional = [given.pop(p.name) for p in single]
    return partial(function, *positional, *rest, **given)


def _takes_text(annotation: Any) -> bool:
    """Say whether a parameter's word is given as it is: it is no number."""
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return name.removesuffix(" | None") not in ("int", "float", "bool")


def _words_first(words: list[str]) -> list[str]:
    """Return words before flags: optional ones, and `*paths`, would be those before the first flag.

    Args:
        words: Words, and flags with the value that each has.
    """
    if "--" in words:
        return words
    found: tuple[list[str], list[str]] = ([], [])
    value = False  # whether the word is that of the flag before
    for word in words:
        flag = not value and word.startswith("-") and word != "-"
        found[value or flag].append(word)
        value = flag and "=" not in word
    return found[0] + found[1]
