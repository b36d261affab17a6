"""Run the code of an exported folder's page where what it should not need can't be imported."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run_page(
    folder: Path, *changes: tuple[str, str], without: Sequence[str] = ("unrolled", "torch")
) -> list[str]:
    """Return the lines that the code of a folder's page prints.

    Args:
        folder: The folder.
        changes: What to put in place of what, once each.
        without: Packages that can't be imported.
    """
    page = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    for before, after in changes:
        assert code.count(before) == 1, before
        code = code.replace(before, after)
    hidden = ", ".join(f"{name}=None" for name in (*without, "lightning"))
    command = [sys.executable, "-c", f"import sys; sys.modules.update({hidden})\n{code}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
