"""The help of the program and of its commands: short, and quick, for nothing heavy is imported."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping

from .source import documented, shown


def main_help(commands: Mapping[str, str], program: str = "unrolled") -> str:
    """Return what `unrolled --help` prints.

    Args:
        commands: What each command does, by its name.
        program: The program's own name.
    """
    lines = [
        f"Usage: {program} COMMAND ...",
        "",
        "Recurrent networks for text, translation, captions and video, trained with PyTorch"
        " Lightning.",
        "",
        *(f"  {name:<10}{summary}" for name, summary in commands.items()),
        "",
        "Start with:",
        "  unrolled fit char_lm            then  unrolled generate runs/char_lm",
        "  unrolled fit translation        then  unrolled translate runs/translation corpus.de",
        "  unrolled fit captioning         then  unrolled caption runs/captioning photo.jpg",
        "  unrolled fit video              then  unrolled label runs/video clip.mp4",
        "  unrolled list                   tasks, variants, cores, data sets, ways to train",
        "",
        *(
            ["'eval \"$(unrolled --print_completion bash)\"' completes words; also zsh, fish.", ""]
            if program == "unrolled"
            else []
        ),
        f"{program} COMMAND --help says more. --debug, with any command, shows the traceback of an"
        " error.",
    ]
    return "\n".join(lines)


def function_help(command: str, function: Callable[..., int | None]) -> str:
    """Return what `unrolled generate --help` prints, or another command that is a function.

    Args:
        command: The name of the command.
        function: Its function, with a Google docstring.
    """
    docstring = inspect.getdoc(function) or ""
    texts = documented(docstring)
    usage, words, flags = ["Usage: unrolled", command], [], []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            default = "" if parameter.default == "" else f" [{shown(parameter.default)}]"
            flags.append((f"--{name}", f"{texts[name]}{default}"))
            continue
        several = parameter.kind is parameter.VAR_POSITIONAL
        word = f"{name.upper().removesuffix('S')}..." if several else name.upper()
        words.append((word, texts[name]))
        optional = parameter.default not in (parameter.empty, "")
        usage.append(f"[{word}]" if optional else word)
    said = docstring.partition("\nArgs:")[0].rstrip()
    width = max([18, *(len(name) + 2 for name, _ in words + flags)])
    entries = ["", *rows(words + flags, width)] if words + flags else []
    return "\n".join([" ".join(usage) + " [flags]" * bool(flags), "", said, *entries])


def rows(entries: Iterable[tuple[str, str]], column: int, width: int = 80) -> list[str]:
    """Return names and texts in two columns, each text on as many lines as it needs.

    No word is broken: what can be copied, a name or a link, stays whole.

    Args:
        entries: The names and texts.
        column: Where the texts begin.
        width: How long a line may be.
    """
    lines = []
    for name, text in entries:
        wrapped = textwrap.wrap(
            text, width - column - 2, break_long_words=False, break_on_hyphens=False
        ) or [""]
        if len(name) + 2 > column:
            lines.append(f"  {name}")
        else:
            lines.append(f"  {name:<{column}}{wrapped.pop(0)}".rstrip())
        lines += [f"  {'':<{column}}{line}" for line in wrapped]
    return lines
