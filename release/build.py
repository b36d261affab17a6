"""Build what is released: `unrolled`, and `unrolled-core` from the same files.

    python release/build.py dist

`unrolled-core` is the folder core/ as the package `unrolled_core`, torch its only dependency. Its
name is another one than `unrolled.core`, so that the two distributions share no file: whichever is
installed, updated or removed leaves the other as it was.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_NAME = re.compile(r"\bunrolled\.core\b")
_PROJECT = """\
[build-system]
requires = {build}
build-backend = "setuptools.build_meta"

[project]
name = "unrolled-core"
version = "{version}"
description = "Recurrent cores for PyTorch: LSTM, GRU and their successors, one contract for all"
readme = "README.md"
license = "MIT"
license-files = ["LICENSE"]
authors = [{{ name = "the unrolled developers" }}]
requires-python = "{python}"
classifiers = {classifiers}
dependencies = ["{torch}"]

[project.optional-dependencies]
vision = ["{torchvision}"]
timm = ["{torchvision}", "{timm}"]

[tool.setuptools]
packages = {packages}

[tool.setuptools.package-data]
unrolled_core = ["py.typed"]
"""


def version() -> str:
    """Return the version of both."""
    text = (ROOT / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found
    return found[1]


def write_core(folder: Path) -> None:
    """Write the project of `unrolled-core`.

    Args:
        folder: Where; it must not be there yet.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ours = project["project"]
    bounds = {re.split(r"[<>=]", line)[0]: line for line in ours["dependencies"]}
    package = folder / "unrolled_core"
    for path in sorted((ROOT / "core").rglob("*.py")):
        place = package / path.relative_to(ROOT / "core")
        place.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        place.write_text(_NAME.sub("unrolled_core", text), encoding="utf-8")
    (package / "py.typed").touch()
    packages = [
        ".".join(path.parent.relative_to(folder).parts)
        for path in sorted(package.rglob("__init__.py"))
    ]
    shutil.copy(ROOT / "LICENSE", folder)
    shutil.copy(ROOT / "release" / "core.md", folder / "README.md")
    text = _PROJECT.format(
        build=project["build-system"]["requires"],
        version=version(),
        python=ours["requires-python"],
        classifiers=ours["classifiers"],
        torch=bounds["torch"],
        torchvision=bounds["torchvision"],
        timm=ours["optional-dependencies"]["timm"][0],
        packages=packages,
    )
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def build(source: Path, out: Path, *more: str) -> None:
    """Build a wheel and a source distribution.

    Args:
        source: The project.
        out: Where to put them.
        more: Arguments for `build`.
    """
    command = [sys.executable, "-m", "build", *more, "--outdir", str(out), str(source)]
    subprocess.run(command, check=True)


def main(out: Path) -> None:
    """Build both.

    Args:
        out: Where to put them.
    """
    out.mkdir(parents=True, exist_ok=True)
    build(ROOT, out)
    with tempfile.TemporaryDirectory() as folder:
        write_core(Path(folder) / "core")
        build(Path(folder) / "core", out)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
