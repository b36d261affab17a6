"""What is released besides the wheel of `unrolled`: the cores alone, and what says who we are."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import unrolled
import yaml

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, ROOT / "release" / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("core")
    script("build").write_core(folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", folder, folder / "source"], check=True)
    return next(folder.glob("*.whl"))


def test_cores_alone_are_the_same_files_under_another_name(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        texts = {name: archive.read(name).decode() for name in names}
        metadata = archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA")))
    ours = {
        f"unrolled_core/{path.relative_to(ROOT / 'core').as_posix()}": path.read_text("utf-8")
        for path in (ROOT / "core").rglob("*.py")
    }
    assert texts.pop("unrolled_core/py.typed") == ""
    assert texts == {
        name: text.replace("unrolled.core", "unrolled_core") for name, text in ours.items()
    }
    needed = [line for line in metadata.decode().splitlines() if line.startswith("Requires-Dist")]
    assert [line for line in needed if "extra ==" not in line] == ["Requires-Dist: torch>=2.3"]
    assert f"\nVersion: {unrolled.__version__}\n" in metadata.decode()


def readme_example() -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    return next(block for block in blocks if "from unrolled.core import" in block)


def declared(name: str, seen: set[str]) -> set[str]:
    """A distribution and what it declares to need, as far as it is installed here."""
    name = re.match(r"[\w.-]+", name)[0].lower().replace("_", "-")
    if name not in seen:
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            return seen  # of another system
        seen.add(name)
        for one in needed:
            if "extra ==" not in one:
                declared(one, seen)
    return seen


def test_cores_alone_need_nothing_but_torch(wheel, tmp_path):
    """The README's example beside nothing but torch and what it declares to need."""
    only = tmp_path / "site with ünïcode"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", only]
    subprocess.run([*command, wheel], check=True)
    for name in declared("torch", set()):
        for file in metadata.files(name):
            top = only / file.parts[0]
            if file.parts[0] not in ("..", "__pycache__") and not top.exists():
                top.symlink_to(Path(file.locate()).parents[len(file.parts) - 1] / file.parts[0])
    assert not list(only.glob("lightning*")) + list(only.glob("numpy*"))
    example = readme_example().replace("unrolled.core", "unrolled_core")
    checks = """
assert output.shape == (8, 100, 256) and y.shape == (8, 256)
import sys, unrolled_core
found = unrolled_core.discover_cores()
assert "GatedDeltaNet" in found and found["LSTM"].__module__ == "unrolled_core.cores.lstm"
assert "unrolled" not in sys.modules
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", example + checks],  # -S: nothing of this environment
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(only)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "done\n", done.stderr


def test_cores_alone_and_the_suite_live_side_by_side(wheel, tmp_path):
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target]
    subprocess.run([*command, wheel], check=True)
    assert {path.name for path in target.iterdir() if not path.name.endswith(".dist-info")} == {
        "unrolled_core"
    }
    both = (
        "import torch, unrolled.core, unrolled_core\n"
        "a, b = unrolled.core.GRU(3, 4), unrolled_core.GRU(3, 4)\n"
        "b.load_state_dict(a.state_dict())\n"
        "x = torch.randn(2, 5, 3)\n"
        "assert torch.equal(a(x)[0], b(x)[0]) and type(a) is not type(b)\n"
    )
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    subprocess.run(
        [sys.executable, "-c", both],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=True,
    )


def test_version_is_said_once(tmp_path):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert citation["version"] == first[1] == unrolled.__version__ == script("build").version()


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_forms_and_workflows_are_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="there is no actionlint")
def test_workflows_are_sound():
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    done = subprocess.run(["actionlint", *workflows], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


README = (
    "![a picture](docs/a.svg) and [the page](docs/a.md), [another](https://a.org/b.md), `f(x)`."
)


def test_links_of_the_package_index_lead_somewhere():
    build = script("build")
    assert build.readme(README, "") == " and the page, [another](https://a.org/b.md), `f(x)`."
    assert build.urls("") == ""
    at = "https://example.org/us/unrolled"
    tag = f"v{unrolled.__version__}"
    assert build.readme(README, at) == (
        f"![a picture]({at}/raw/{tag}/docs/a.svg) and [the page]({at}/blob/{tag}/docs/a.md), "
        "[another](https://a.org/b.md), `f(x)`."
    )
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not re.findall(r"\]\((?!https?:)", build.readme(text, at))
    assert not re.findall(r"\]\((?!https?:)", build.readme(text, ""))
    pages = tomllib.loads(build.urls(at))["project"]["urls"]
    assert pages["Issues"] == f"{at}/issues"
    for page in pages.values():  # every file that is named is there
        path = page.removeprefix(at).removeprefix(f"/blob/{tag}/")
        assert path in ("", "/issues") or (ROOT / path).is_file()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
@pytest.mark.parametrize("at", ["", "https://example.org/us/unrolled"])
def test_source_distribution_is_the_repository(at, tmp_path):
    source = tmp_path / "source"
    script("build").write_suite(source, at)
    make = "import sys, setuptools.build_meta as made; print(made.build_sdist(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", make, str(tmp_path)], cwd=source, check=True, capture_output=True
    )
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        facts = archive.extractfile(f"unrolled-{unrolled.__version__}/PKG-INFO").read().decode()
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    own = (".ci/", ".github/", ".dockerignore", ".gitignore")  # what only a repository needs
    tracked = {name for name in listed.stdout.split("\0") if name and not name.startswith(own)}
    assert {name for name in tracked if (ROOT / name).is_file()} <= names
    assert (f"Project-URL: Repository, {at}\n" in facts) == bool(at)
    assert not re.findall(r"\]\((?!https?:)", facts)
