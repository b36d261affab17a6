"""`unrolled generate`: prompts, several texts, where they end, bytes as they are."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from unrolled.cli import main

RUN = "runs/char_lm/a"


@pytest.fixture(scope="module")
def of_bytes(tmp_path_factory):
    """A run of a model of bytes."""
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "all.bin").write_bytes(bytes(range(256)) * 4)
    flags = ["--data.units", "bytes", "--trainer.max_steps", "1", "--model.core.hidden_size", "4"]
    flags += ["--data.batch_size", "2", "--data.chunk_length", "8", "--trainer.accelerator", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "char_lm", "--data.path", "all.bin", *flags, "--name", "a"]) == 0
    return str(folder / RUN)


def test_the_prompt_is_kept_or_left_out(here, capsys):
    shared = ["generate", RUN, "--prompt", "the cat", "--length", "9", "--seed", "1"]
    assert main(shared) == 0
    kept = capsys.readouterr().out
    assert main([*shared, "--echo", "false"]) == 0
    assert kept == f"the cat{capsys.readouterr().out}"
    assert main([*shared, "--echo", "false", "--num_samples", "2"]) == 0
    assert "the cat" not in capsys.readouterr().out


def test_it_stops_where_it_is_told(here, capsys):
    for seed in range(9):  # until it writes something
        shared = ["generate", RUN, "--echo", "false", "--length", "60", "--seed", str(seed)]
        assert main(shared) == 0
        if len(whole := capsys.readouterr().out) > 3:
            break
    letter = whole[-2]  # the last before the line end
    assert main([*shared, "--stop", letter]) == 0
    assert capsys.readouterr().out == whole.split(letter)[0] + "\n"
    assert main([*shared, "--stop", ""]) == 2
    assert "stop=''" in capsys.readouterr().err


def test_bytes_go_in_and_come_out_as_they_are(of_bytes, capsysbinary, monkeypatch):
    prompt = bytes([255, 0, 13, 10, 128])
    for samples in (1, 2):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(prompt)))
        flags = ["--length", "50", "--seed", "3", "--num_samples", str(samples)]
        assert main(["generate", of_bytes, "--prompt", "-", *flags]) == 0
        out = capsysbinary.readouterr().out
        if samples == 1:
            assert out.startswith(prompt)
            assert len(out) <= len(prompt) + 50
            assert not out.endswith(b"\n") or len(out) < len(prompt) + 50
        else:
            assert out.startswith(b"--- 1 ---\n" + prompt)
            assert out.count(prompt) >= 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_prompt_comes_in_the_encoding_that_it_names(encoding, trained, monkeypatch, capsys):
    given = SimpleNamespace(buffer=io.BytesIO("the cat ".encode(encoding)))
    monkeypatch.setattr("sys.stdin", given)
    path = str(trained / "runs/char_lm/a")
    assert main(["generate", path, "--prompt", "-", "--length", "0"]) == 0
    assert "error" not in capsys.readouterr().err


def test_a_prompt_that_is_no_text_is_named(trained, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"the\n\xff cat")))
    assert main(["generate", str(trained / "runs/char_lm/a"), "--prompt", "-"]) == 3
    assert "standard input, line 2 is not UTF-8: byte 0xff" in capsys.readouterr().err
