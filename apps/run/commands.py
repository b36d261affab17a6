"""`unrolled fit`, `validate`, `test` and `predict`: their help, or their run."""

from __future__ import annotations

import warnings

from ..shell.messages import as_line
from .flags import command_help, task_help
from .request import parse


def carry_out(program: str, command: str, words: list[str], *, debug: bool = False) -> int:
    """Carry out a command of the trainer and return its exit code.

    Args:
        program: The program's own name.
        command: `fit`, `validate`, `test` or `predict`.
        words: What follows it.
        debug: Show what Lightning says.
    """
    asked = next((flag for flag in ("--help", "-h") if flag in words), None)
    if asked and words[words.index(asked) + 1 :] == ["all"]:
        words = words[:-1]  # the parser's own help
    elif asked and words[0].startswith("-"):
        print(command_help(command, program))
        return 0
    elif asked:
        print(task_help(command, words[0], program))
        return 0
    request = parse(command, words)
    from ..shell.arguments import import_classes

    import_classes()
    from .training import run

    if not debug:
        warnings.formatwarning = as_line  # Lightning's import has put its own there
    return run(request, debug=debug)
