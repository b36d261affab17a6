"""The pages of the documentation: their blocks of code, and the commands in them, parsed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent

from lightning.pytorch import LightningModule
from unrolled.apps.plot import _out
from unrolled.apps.run.request import COMMANDS, parse
from unrolled.apps.run.training import TrainingCLI
from unrolled.apps.shell.arguments import import_classes
from unrolled.apps.shell.commands import bound, function_of
from unrolled.apps.shell.shipped import is_path, tasks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "theme" not in page.parts),
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:\A|\n\n)((?:    .*\n|\n)+)")
# Flags of a command that are neither the configuration's nor the data's, and whether each has a
# value.
_OWN = {"--ckpt_path": True, "--init_from": True, "--results": True, "--name": True}
_OWN |= {"--trust": True, "--resume": None}  # it may have one


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language; `sh` are also the indented ones that are commands."""
    text = text_of(page)
    found = [dedent(code) for _, name, code in _FENCE.findall(text) if name == language]
    if language == "sh":
        plain = _FENCE.sub("", text)
        found += [dedent(code) for code in _INDENTED.findall(plain) if "- " not in code[:8]]
    return found


def commands(block: str) -> Iterator[list[str]]:
    """Yield the words of each command of ours in a block for the shell."""
    for line in block.replace("\\\n", " ").splitlines():
        if not re.search(r"\b(unrolled|lightning) ", line):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "|"]:
            if words and words[-1] in (">", "<", "2>"):
                words.pop()  # a file, by its name
            elif word in ("|", "||", "&&", ";", "&"):
                place = next((n for n, w in enumerate(words) if w in ("unrolled", "lightning")), -1)
                if place >= 0 and len(words) > place + 1:
                    yield words[place + 1 :]
                words = []
            elif not set(word) <= set("()<>") or word in (">", "<"):
                words.append(word)


def parse_command(words: list[str]) -> None:
    """Parse a command as the program does, and do nothing.

    Raises:
        UsageError: It is refused.
    """
    command, *rest = words
    if "--help" in rest or command.startswith("-"):
        return
    if command in COMMANDS or command == "check":
        parse_training(command, rest)
    elif command == "plot":
        _, others = _out(rest[1:])
        bound(f"plot {rest[0]}", function_of(f"..plots.{rest[0]}", rest[0]), others)
    else:
        bound(command, function_of(f"..{command}", command), rest)


def parse_training(command: str, words: list[str]) -> None:
    """Parse the flags of fit, validate, test and check by the parser of fit, which has them all."""
    flags: list[str] = []
    named: list[str] = []
    while words:
        word, *words = words
        if word not in _OWN:
            flags.append(word)
        elif _OWN[word] or (words and not words[0].startswith("-")):
            named.append(words.pop(0))
    task = flags.pop(0) if flags and not flags[0].startswith("-") else ""
    if not task:  # the run's
        task = next(part for part in named[0].split("/") if part in tasks())
    if command == "check" and flags and not flags[0].startswith("-"):
        flags.pop(0)  # the data
    assert command == "fit" or not any(flag.startswith("--model") for flag in flags)
    if is_path(task) and not Path(task).exists():
        task = next((part for part in task.split("/") if part in tasks()), "char_lm/text")
    request = parse("fit", [task, *flags])
    parser().parse_args(
        ["fit", *(word for one in request.configs for word in ("--config", one)), *request.flags]
    )


class _ParserOnly(TrainingCLI):
    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        self.model = LightningModule()

    def after_instantiate_classes(self) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@cache
def parser():
    """The parser of `unrolled fit`, with all classes that a flag may name."""
    import_classes()
    cli = _ParserOnly(parse("fit", ["char_lm"]))
    cli.carry_out()
    return cli.parser


def flags_in(page: str) -> set[str]:
    """The flags of ours that stand in the text and the tables of a page."""
    text = _FENCE.sub("", text_of(page))
    if page.startswith("docs/from/"):  # the first column is the other program's
        text = re.sub(r"^\|.*?(?<!\\)\|", "|", text, flags=re.MULTILINE)
    return {
        flag
        for code in re.findall(r"`([^`\n]+)`", text)
        for flag in re.findall(r"(?<![\w-])--[a-z][\w.]*\w", code)
    }
