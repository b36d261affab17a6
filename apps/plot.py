"""Draw a picture: of attention, neurons, surprise, curves, memory and more."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError, did_you_mean, one_line
from .shell.commands import bound, function_of, summary
from .shell.help import function_help, rows

_OUT = "Where to write the picture: a file whose name ends with .png, .svg or .pdf. [{}.png]"


def plot(what: str, *words: str) -> None:
    """Draw a picture into a file, and say in a few lines what it shows.

    Args:
        what: Which picture.
        *words: What it is of, and flags: `unrolled plot WHAT --help` says which.
    """
    from .plots import files

    pictures = files()
    if what not in pictures:
        raise UsageError(
            f"There is no picture '{what}'.{did_you_mean(what, pictures)}\n"
            f"The pictures are: {', '.join(pictures)}."
        )
    given, others = _out([*words])
    target = Path(given or f"{what}.png")
    if target.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--out '{target}': a picture's name ends with .png, .svg or .pdf.")
    draw = bound(f"plot {what}", function_of(f"..plots.{what}", what), others)

    figure = draw()
    from .pictures.canvas import save

    print(one_line(save(figure, target)))  # type: ignore[arg-type]
    for line in getattr(figure, "said", []):
        print(one_line(line))


def carry_out(words: list[str]) -> int:
    """Carry out `unrolled plot`, whose flags are those of the picture.

    Args:
        words: What follows it.
    """
    asked = "--help" in words or "-h" in words
    named = [word for word in words if not word.startswith("-")]
    if asked and named:
        print(_help_of(named[0]))
    elif asked or not named:
        print(_help())
        return 0 if asked else 2
    else:
        plot(*words)
    return 0


def _help() -> str:
    from .plots import files

    found = [(name, summary(path)) for name, path in files().items()]
    return "\n".join(
        [
            "Usage: unrolled plot WHAT ... [flags]",
            "",
            "Draw a picture into a file, and say in a few lines what it shows.",
            "",
            *rows(found, 18),
            "",
            "unrolled plot WHAT --help says more.",
        ]
    )


def _help_of(what: str) -> str:
    from .plots import files

    if what not in files():
        plot(what)
    text = function_help(f"plot {what}", function_of(f"..plots.{what}", what))
    return "\n".join([text, *rows([("--out", _OUT.format(what))], 18)])


def _out(words: list[str]) -> tuple[str | None, list[str]]:
    """Return where the picture goes, and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--out")
    try:
        known, others = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UsageError("--out needs a value: a file's name.") from error
    return known.out, others
