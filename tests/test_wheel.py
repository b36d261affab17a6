"""What a user gets from the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A copy of what git tracks, so that nothing untracked slips in and no build folder is left
    # behind.
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a git checkout: the wheel is built from what git tracks")
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    ]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def test_packages_are_listed_as_they_are_in_the_tree():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"unrolled"}
    for top in ("apps", "configs", "core", "data", "tasks"):
        for path in (ROOT / top).rglob("__init__.py"):
            found.add(".".join(["unrolled", *path.parent.relative_to(ROOT).parts]))
    assert set(listed) == found


def test_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "unrolled",
        wheel.name.rsplit("-", 3)[0] + ".dist-info",
    }
    assert "unrolled/py.typed" in names
    shipped = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"unrolled/{name}" for name in shipped} <= set(names)
    others = tuple(f"unrolled/{folder}" for folder in ("tests", "benchmarks", "docs", "examples"))
    assert not [name for name in names if name.startswith(others)]


def test_works_installed_alone(wheel, tmp_path):
    site = tmp_path / "site"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        site,
        wheel,
    ]
    subprocess.run(command, check=True)
    (tmp_path / "text.txt").write_text("hello wheel, " * 100)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import unrolled; print(unrolled.__file__)").startswith(str(site))
    assert "char_lm/default" in run("-m", "unrolled", "list", "variants")
    small = ("--data.batch_size", "2", "--data.chunk_length", "8", "--model.core.hidden_size", "8")
    run(
        "-m",
        "unrolled",
        "fit",
        "char_lm/text",
        "--data.path",
        "text.txt",
        "--trainer.max_steps",
        "2",
        *small,
    )
    checkpoint = "runs/char_lm/1/checkpoints/last.ckpt"
    assert (
        len(
            run(
                "-m", "unrolled", "generate", checkpoint, "--prompt", "hello", "--length", "5"
            ).strip()
        )
        >= 5
    )
