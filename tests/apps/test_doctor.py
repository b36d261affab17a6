"""The doctor finds what is known to be bad, and names the command that mends it."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from unrolled.apps import doctor
from unrolled.apps.shell.processor import multiplies_bf16
from unrolled.cli import main


def test_this_machine_is_well(capsys):
    assert main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert f"torch {torch.__version__}" in output
    assert "All that unrolled needs works." in output
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert ("bf16-mixed trains faster" in output) == multiplies_bf16()


@pytest.fixture
def version(monkeypatch):
    """A function that pretends a package is of another version, or is not there."""
    real = metadata.version

    def pretend(name: str, number: str | None) -> None:
        def version(asked: str) -> str:
            if asked != name:
                return real(asked)
            if number is None:
                raise metadata.PackageNotFoundError(name)
            return number

        monkeypatch.setattr(metadata, "version", version)

    return pretend


@pytest.mark.parametrize(
    ("name", "number", "told", "remedy"),
    [
        ("lightning", "2.6.2", "malicious upload", "lightning>=2.6.6,<3"),
        ("lightning", "2.6.3", "malicious upload", "lightning>=2.6.6,<3"),
        ("lightning", "2.6.5", "CVE-2026-58659", "lightning>=2.6.6,<3"),
        ("lightning", None, "lightning is not installed", "lightning>=2.6.6,<3"),
        ("torch", None, "torch is not installed", "install torch torchvision"),
        ("datasets", None, "datasets is not installed", "install datasets"),
        ("jsonargparse", "4.30.0", "4.39 or newer", "jsonargparse[signatures]>=4.39,<5"),
        ("jsonargparse", "5.0.0", "below 5", "jsonargparse[signatures]>=4.39,<5"),
    ],
)
def test_a_bad_version_is_exit_code_4_with_its_remedy(version, capsys, name, number, told, remedy):
    version(name, number)
    assert main(["doctor"]) == 4
    output = capsys.readouterr().out
    assert told in output
    assert remedy in output
    assert "BAD" in output


def test_torch_that_loads_unsafely_is_a_note(monkeypatch, capsys):
    monkeypatch.setattr(torch, "__version__", "2.3.1")
    assert main(["doctor"]) == 0
    assert "CVE-2025-32434" in capsys.readouterr().out


def test_a_package_that_does_not_import(monkeypatch, capsys):
    real = doctor.import_module

    def broken(name: str):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name)

    monkeypatch.setattr(doctor, "import_module", broken)
    assert main(["doctor"]) == 4
    output = capsys.readouterr().out
    assert "operator torchvision::nms does not exist" in output
    assert "--force-reinstall torch torchvision" in output


def test_an_optional_package_that_does_not_import_is_a_note(monkeypatch, version, capsys):
    version("torchcodec", "0.14.0")
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    assert main(["doctor"]) == 0
    assert "torchcodec 0.14.0 does not work" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("#!python\nfrom unrolled.cli import lightning_entry\n", "`lightning` is ours"),
        (
            "#!python\nfrom lightning_sdk.cli.entrypoint import main_cli\n",
            "belongs to another package",
        ),
        (None, "there is no `lightning` command"),
    ],
)
def test_whose_the_lightning_command_is(monkeypatch, tmp_path, script, told):
    if script:
        (tmp_path / "lightning").write_text(script)
    monkeypatch.setattr(doctor.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert told in doctor._script().text


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "file"))
    assert main(["doctor"]) == 4
    assert "UNROLLED_CACHE" in capsys.readouterr().out


def test_little_space_is_a_note(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2**20}))
    finding = doctor._writable("cache", lambda: Path(tmp_path))
    assert finding.level == "note"
    assert "0.0 GiB free" in finding.text
