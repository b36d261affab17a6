"""Models on the Hugging Face hub, as a server on loopback plays it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from app_models import write_models
from stub_hub import stub_hub
from unrolled.cli import main

pytest.importorskip("safetensors")
pytest.importorskip("huggingface_hub")
slow = pytest.mark.slow  # each command is a process: the library reads its server at import


def run(hub: str, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    settings = {"HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_TOKEN": "hf_none"}
    command = [sys.executable, "-m", "unrolled", *words]
    return subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )


@slow
def test_a_model_goes_to_the_hub_and_back(tmp_path):
    write_models(tmp_path)
    checkpoint, files = str(tmp_path / "lm.ckpt"), {}
    with stub_hub(files) as hub:
        pushed = run(hub, tmp_path / "home", "push", checkpoint, "user/model")
        assert pushed.returncode == 0, pushed.stderr
        assert pushed.stdout == f"{hub}/user/model\nuse it as hf://user/model\n"
        assert set(files) == {"README.md", "config.json", "model.safetensors"}
        assert 'unrolled.load("hf://user/model")' in files["README.md"].decode()
        files["evil.py"] = b"raise SystemExit"
        words = "--seed", "3", "--length", "20"
        there = run(hub, tmp_path / "home", "generate", "hf://user/model", *words)
        here = run(hub, tmp_path / "home", "generate", checkpoint, *words)
        assert there.stdout == here.stdout, there.stderr
        assert there.returncode == 0
        assert not list((tmp_path / "home").rglob("evil.py"))


@slow
def test_what_the_hub_refuses_is_said(tmp_path):
    with stub_hub({"README.md": b"no model"}) as hub:
        for name, code, part in (
            ("hf://user/model", 3, "is no model of `unrolled`"),
            ("hf://user/other", 3, "can't be downloaded"),
            ("hf://a/b/c", 2, "is no name on the hub"),
            ("hf://model", 2, "is no name on the hub"),
        ):
            done = run(hub, tmp_path / "home", "generate", name)
            assert (done.returncode, part in done.stderr) == (code, True), done.stderr
            assert "Traceback" not in done.stderr


@slow
def test_a_hub_that_does_not_answer_is_said(tmp_path):
    """And neither who should log in, nor a traceback."""
    write_models(tmp_path)
    nobody = "http://127.0.0.1:9"
    for words, code in (
        (("generate", "hf://user/model"), 3),
        (("push", str(tmp_path / "lm.ckpt"), "user/model"), 4),
    ):
        done = run(nobody, tmp_path / "home", *words)
        assert (done.returncode, "the hub does not answer" in done.stderr) == (code, True)
        assert "Traceback" not in done.stderr
        assert "hf auth login" not in done.stderr


@pytest.mark.parametrize("name", ["", "model", "a/b/c", "a b/c", "a/../b", "a/b.git"])
def test_what_is_no_name_is_refused_before_anything_is_read(name, capsys):
    assert main(["push", "nowhere.ckpt", name]) == 2
    assert "is no name on the hub: USER/MODEL is" in capsys.readouterr().err


def test_what_is_no_run_is_not_pushed(tmp_path, capsys):
    assert main(["push", str(tmp_path), "user/model"]) == 3
    assert "There is no checkpoint in the folder" in capsys.readouterr().err
