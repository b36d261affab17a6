"""A disk without room, for every command that writes: exit code 4, a line, nothing half done."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
from app_models import write_models
from unrolled.cli import main


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    (folder / "text").write_text("ein hund\n" * 40)
    (folder / "target").write_text("a dog\n" * 40)
    return folder


@pytest.fixture
def full(models, tmp_path, monkeypatch) -> Iterator[None]:
    """No file of more than 200 bytes can be written."""
    monkeypatch.chdir(models)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "words",
    [
        "generate lm.ckpt --length 900 --num_samples 90 --out OUT.json",
        "translate translation.ckpt text --out OUT.txt",
        "caption caption.ckpt a.png --attention OUT",
        "label video.ckpt a.npy --out OUT",
        "average OUT.ckpt lm.ckpt lm.ckpt",
        "shortlist OUT.ckpt translation.ckpt --source text --target target",
        "cp char_lm OUT.yaml",
        "plot surprise lm.ckpt abc --out OUT.png",
    ],
)
def test_a_command_says_that_there_is_no_room(full, tmp_path, capsys, words):
    given = words.replace("OUT", str(tmp_path / "out")).split()
    assert main(given) == 4
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("unrolled: error: ")
    assert "no space left on the disk" in told or "File too large" in told
    assert "--resume" not in told
