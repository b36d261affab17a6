"""Build what is released: `unrolled`, and `unrolled-core` from the same files.

    python release/build.py dist

`unrolled-core` is the folder core/ as the package `unrolled_core`, torch its only dependency. Its
name is another one than `unrolled.core`, so that the two distributions share no file: whichever is
installed, updated or removed leaves the other as it was.

Both are built from a copy of what git tracks. Where pyproject.toml says the address of the
repository (`address` in `[tool.unrolled]`), the links of the README lead there, at the version's
tag, and the package index shows it; without an address the links are plain text, since a package
index knows no files beside the README.
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
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:)([^)\s]+)\)")
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


def address() -> str:
    """Return the address of the repository, empty where it has none yet."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = str(project["tool"]["unrolled"]["address"]).rstrip("/")
    assert not found or re.fullmatch(r"https://[\w.-]+(/[\w.~-]+)+", found), found
    return found


def readme(text: str, address: str) -> str:
    """Return a README whose links lead somewhere on a package index.

    Args:
        text: The README of the repository.
        address: That of the repository, or nothing.
    """

    def link(found: re.Match[str]) -> str:
        image, name, path = found.groups()
        if not address:
            return "" if image else name
        return f"{image}[{name}]({address}/{'raw' if image else 'blob'}/v{version()}/{path})"

    return _LINK.sub(link, text)


def urls(address: str) -> str:
    """Return the table of pyproject.toml that names the pages of the project.

    Args:
        address: That of the repository, or nothing.
    """
    if not address:
        return ""
    pages = {
        "Repository": address,
        "Documentation": f"{address}/blob/v{version()}/docs/index.md",
        "Changelog": f"{address}/blob/v{version()}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
    return "\n[project.urls]\n" + "".join(f'{name} = "{url}"\n' for name, url in pages.items())


def write_suite(folder: Path, address: str) -> None:
    """Copy what git tracks, with a README and a pyproject.toml for the package index.

    Args:
        folder: Where; it must not be there yet.
        address: That of the repository, or nothing.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    page = folder / "README.md"
    page.write_text(readme(page.read_text(encoding="utf-8"), address), encoding="utf-8")
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(urls(address))


def write_core(folder: Path, address: str = "") -> None:
    """Write the project of `unrolled-core`.

    Args:
        folder: Where; it must not be there yet.
        address: That of the repository, or nothing.
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
    (folder / "pyproject.toml").write_text(text + urls(address), encoding="utf-8")


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
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("suite", write_suite), ("core", write_core)):
            write(Path(folder) / name, address())
            build(Path(folder) / name, out)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
