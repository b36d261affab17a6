"""What the README tells people to type works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from unrolled.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FEW = ["--trainer.accelerator", "cpu", "--trainer.max_steps", "2", "--trainer.limit_val_batches", "1"]
SMALL = ["--data.batch_size", "4", "--data.chunk_length", "8"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_commands_and_python_run_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input.txt").write_text("ROMEO:\nBut soft, what light through yonder window breaks?\n" * 30)
    commands = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    ours = [words[1:] for words in commands if words and words[0] == "unrolled"]
    assert len(ours) >= 8
    for words in ours:
        if words[0] == "fit":  # as it stands, but short; the model's size as well where the line does not say it
            size = [] if "--model.core.hidden_size" in words else ["--model.core.hidden_size", "8"]
            words = [*words[:2], *FEW, "--trainer.val_check_interval", "2", *SMALL, *size, *words[2:]]
            words = [*words, "--trainer.max_steps", "2"]
        if words[0] == "validate":
            words = [*words, *SMALL, "--trainer.limit_val_batches", "1"]
        assert main(words) == 0, words
    capsys.readouterr()
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", ["README.md", "docs/benchmarks.md", "docs/char_lm.md", "docs/cores.md"])
def test_no_placeholder_is_left(path):
    assert not re.findall(
        r"^[A-Z]+[A-Z0-9_]*_[A-Z0-9_]+$|TODO", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE
    )


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert target.startswith("http") or (ROOT / target).exists()


def test_makefile_has_the_targets_that_are_named():
    makefile = (ROOT / "Makefile").read_text()
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README + contributing, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
