"""What every test gets: one thread, a cache of its own, the data outside the repository, a run."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from forks import Forks
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:  # most tests need no Lightning
    from lightning.pytorch import Trainer

# how long an example takes is the machine's matter, not a property
settings.register_profile("machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the device on which the tests of the cores make their tensors."""
    parser.addoption("--device", default="cpu", help="cpu or cuda, for tests/core")


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use one thread, so that results repeat, and another cache than the user's; children too."""
    torch.set_num_threads(1)
    # a shell's background and nohup have them ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("UNROLLED_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs draw no curves at their ends, a third of a small run's time.

    The tests that look at them have a fixture of this name that does nothing.
    """
    if screens := sys.modules.get("unrolled.apps.tracking.screens"):
        monkeypatch.setattr(screens, "draw_curves", lambda folder: None)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Gives the path of a shared data set, and skips the test where it is not there."""
    root = Path(
        os.environ.get("UNROLLED_SHARED_DATA")
        or Path(__file__).resolve().parents[1].parent / "shared" / "data"
    )

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"no {name} in {root} (set UNROLLED_SHARED_DATA)")
        return root / name

    return find


@pytest.fixture(scope="session")
def forks(_quiet_machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs commands in processes of their own without the seconds of their imports."""
    with Forks(tmp_path_factory.mktemp("forks")) as ready:
        yield ready


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Makes quiet trainers on the CPU."""

    def make(**arguments) -> Trainer:
        settings = {
            "default_root_dir": tmp_path,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "use_distributed_sampler": False,
        }
        from lightning.pytorch import Trainer

        return Trainer(**{**settings, **arguments})

    return make


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog;\n" * 20)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `text.txt` and `runs/char_lm/a`, a step of training: only to be read."""
    from unrolled.cli import main

    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text("the cat sat on the mat. " * 40)
    flags = ["--data.batch_size", "2", "--data.chunk_length", "8", "--trainer.accelerator", "cpu"]
    flags += ["--trainer.max_steps", "1", "--model.core.hidden_size", "4", "--name", "a"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "char_lm", "--data.path", "text.txt", *flags]) == 0
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder to work in."""
    shutil.copytree(trained, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"
