"""What the README tells people to type works."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image
from unrolled.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FEW = [
    *("--trainer.accelerator", "cpu", "--trainer.max_steps", "2"),
    *("--trainer.limit_val_batches", "1"),
]
# What makes the data of each task small.
SMALL = {
    "char_lm": ["--data.batch_size", "4", "--data.chunk_length", "8"],
    "translation": ["--data.num_sentences", "200", "--data.num_val", "20", "--data.num_test", "20"],
    "captioning": [
        *("--data.train_size", "8", "--data.val_size", "4", "--data.test_size", "4"),
        *("--data.batch_size", "2"),
    ],
    "video": ["--data.train_clips", "2", "--data.val_clips", "1", "--data.test_clips", "1"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(words: list[str], monkeypatch) -> None:
    """Run a command of the README, made small; `echo ... |` in front is its standard input."""
    if words[0] == "echo":
        monkeypatch.setattr(
            sys, "stdin", SimpleNamespace(buffer=io.BytesIO(f"{words[1]}\n".encode()))
        )
        words = words[words.index("|") + 1 :]
    _, command, *rest = words
    task = rest[0].partition("/")[0] if rest else ""
    # as it stands, but short; the model's size as well where the line does not say it
    if command == "fit":
        size = (
            ["--model.core.hidden_size", "8"]
            if task == "char_lm" and "--model.core" not in rest
            else []
        )
        rest = [rest[0], *FEW, "--trainer.val_check_interval", "2", *SMALL[task], *size, *rest[1:]]
        rest += ["--trainer.max_steps", "2"]
    if command == "validate":
        rest += [*SMALL[task], "--trainer.limit_val_batches", "1"]
    assert main([command, *rest]) == 0, words


def write_inputs(folder: Path) -> None:
    """Write the files that the README's commands name."""
    (folder / "input.txt").write_text(
        "ROMEO:\nBut soft, what light through yonder window breaks?\n" * 30
    )
    Image.new("RGB", (80, 60), "teal").save(folder / "photo.jpg")
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        for shade in range(0, 200, 40):
            picture = np.full((48, 48, 3), shade, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_commands_and_python_run_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    commands = [
        shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()
    ]
    ours = [words for words in commands if "unrolled" in words]
    assert len(ours) >= 14
    for words in ours:
        run(words, monkeypatch)
    assert len(list((tmp_path / "out").iterdir())) >= 4  # the attention, and the labels of the clip
    capsys.readouterr()
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "path", sorted(["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
)
def test_no_placeholder_is_left(path):
    assert not re.findall(
        r"^[A-Z]+[A-Z0-9_]*_[A-Z0-9_]+$|TODO",
        (ROOT / path).read_text(encoding="utf-8"),
        re.MULTILINE,
    )


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert target.startswith("http") or (ROOT / target).exists()


def test_makefile_has_the_targets_that_are_named():
    makefile = (ROOT / "Makefile").read_text()
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README + contributing, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
