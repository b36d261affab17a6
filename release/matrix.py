"""Run tests with the oldest and with the newest version of every dependency.

    python release/matrix.py                     both, each in an environment of its own
    python release/matrix.py oldest --print      only say which versions are meant
    python release/matrix.py newest tests/core   other tests than the quick ones

The oldest versions are the lower bounds of pyproject.toml to the last digit, as constraints; what
these need in turn is as new as pip finds. Each environment is `.venv-oldest` or `.venv-newest`,
6 GB, made anew when pyproject.toml changes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BOUND = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)")
_OURS = re.compile(r"unrolled\[([\w,]+)\]")
_EXTRAS = ("test", "export", "heic", "timm")  # what any test imports
_PYTEST = ("-m", "not slow", "--numprocesses", "2", "--dist", "loadfile")
_TESTS = (
    "tests/test_imports.py",
    "tests/test_cli.py",
    "tests/test_configs.py",
    "tests/core/test_contract.py",
    "tests/data/torchtext",
    "tests/data/text",
    "tests/data/translation",
    "tests/tasks",
)


def oldest() -> list[str]:
    """Return the lower bounds of what is needed to run and to test, as constraints."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    extras = list(_EXTRAS)
    for extra in extras:  # which grows
        for line in project["optional-dependencies"][extra]:
            if ours := _OURS.match(line):
                extras += ours[1].split(",")
            else:
                lines.append(line)
    found = filter(None, map(_BOUND.match, lines))
    return [f"{name}=={version}" for name, version in (bound.groups() for bound in found)]


def environment(name: str, python: str) -> Path:
    """Make an environment, if there is none for this pyproject.toml, and return its Python.

    Args:
        name: `oldest` or `newest`.
        python: What makes it.
    """
    folder = ROOT / f".venv-{name}"
    stamp, inside = folder / ".test", folder / "bin" / "python"
    if stamp.exists() and stamp.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime:
        return inside
    subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(inside), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)  # Python's own fetches more to resolve
    install = [*pip, "--editable", f"{ROOT}[{','.join(_EXTRAS)}]"]
    if name == "oldest":
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(oldest()) + "\n", encoding="utf-8")
        install += ["--constraint", str(constraints)]
    subprocess.run(install, check=True, cwd=ROOT)
    stamp.touch()
    return inside


def main() -> int:
    """Run what the command line asks for; the exit code is that of the last tests that fail."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("which", nargs="?", choices=("oldest", "newest"))
    parser.add_argument("tests", nargs="*", default=list(_TESTS))
    parser.add_argument("--python", default=sys.executable, help="what makes the environments")
    parser.add_argument("--print", action="store_true", help="say the constraints, and stop")
    asked = parser.parse_intermixed_args()  # tests may follow --python
    if asked.print:
        print("\n".join(oldest()))
        return 0
    code = 0
    for name in (asked.which,) if asked.which else ("oldest", "newest"):
        inside = environment(name, asked.python)
        for words in (("--version",), ("-m", "pip", "freeze", "--exclude-editable")):
            subprocess.run([str(inside), *words], check=True)
        command = [str(inside), "-m", "pytest", *_PYTEST, *(asked.tests or _TESTS)]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
        code = done.returncode or code
    return code


if __name__ == "__main__":
    sys.exit(main())
