"""The suite with one more folder of commands, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The package of the commands is given one more folder.
PROGRAM = """
import contextlib, io, json, sys
from unrolled import apps
apps.__path__.append(sys.argv[1])
from unrolled.cli import main
for line in sys.stdin:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = main(json.loads(line))
    imported = sorted({"torch", "my_project", "unrolled.apps.sum"} & set(sys.modules))
    print(json.dumps([code, output.getvalue(), imported]))
"""


def answers(
    folder: Path, asked: Mapping[str, list[str]], *, python: str = sys.executable, **settings: Any
) -> dict[str, tuple[int, str, list[str]]]:
    """Answer command lines, one after the other: exit code, text, and what is imported by then.

    Args:
        folder: The folder.
        asked: The words of each command line, by what it is called.
        python: Who runs the program.
        settings: As for `subprocess.run`.
    """
    lines = "".join(f"{json.dumps(words)}\n" for words in asked.values())
    command = [python, "-c", PROGRAM, str(folder)]
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, check=True, **settings
    )
    return dict(zip(asked, map(json.loads, done.stdout.splitlines()), strict=True))
