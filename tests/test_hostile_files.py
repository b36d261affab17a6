"""Files that are damaged on purpose: every command says in two lines whose fault it is."""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from app_models import write_models
from unrolled.apps.run.saving import CheckedCheckpointIO
from unrolled.cli import main
from unrolled.loading import CheckedTask

ROOT = Path(__file__).resolve().parent.parent
LAST = Path("runs/char_lm/a/checkpoints/last.ckpt")


def last_line(capsys: pytest.CaptureFixture[str], words: list[str], code: int) -> str:
    """Carry out a command that has to fail; return what it says in the end."""
    assert main(words) == code, words
    said = capsys.readouterr().err.strip()
    error = said[said.index("unrolled: error:") :]
    assert len(error.splitlines()) <= 2, said
    return error


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "dangling", "device"])
def test_what_is_no_file_is_no_checkpoint(here, capsys, kind):
    LAST.unlink()
    if kind == "fifo":
        os.mkfifo(LAST)
    elif kind == "folder":
        LAST.mkdir()
    else:
        LAST.symlink_to({"loop": "last.ckpt", "dangling": "nowhere", "device": "/dev/zero"}[kind])
    for given in (str(LAST), "runs/char_lm/a"):
        for words in (["info", given], ["test", "--ckpt_path", given], ["fit", "--resume", given]):
            assert "There is no checkpoint" in last_line(capsys, words, 3)
    last_line(capsys, ["fit", "char_lm", "--resume"], 2)


@pytest.mark.parametrize("name", ["metrics.csv", "config.tmp", "checkpoints/best.ckpt", "version"])
def test_a_link_out_of_a_strangers_run_is_not_written_through(here, capsys, name):
    victim = here / "text.txt"
    before = victim.read_text()
    (here / "runs/char_lm/a" / name).symlink_to("/" if name == "version" else victim)
    error = last_line(capsys, ["fit", "--resume", "runs/char_lm/a", "--trainer.max_steps", "2"], 3)
    assert f"{name}' leads out of the run's folder" in error
    assert victim.read_text() == before


LIGHTNINGS = "lightning.pytorch."
WRITERS: dict[str, dict[str, Any]] = {
    "a checkpoint": {"callbacks": ["callbacks.ModelCheckpoint", {"dirpath": "out"}]},
    "a name": {"callbacks": ["callbacks.ModelCheckpoint", {"filename": "../../../out/x"}]},
    "a table": {"logger": ["loggers.CSVLogger", {"save_dir": "out"}]},
    "a table further up": {
        "logger": ["loggers.CSVLogger", {"save_dir": "runs/char_lm/a", "name": "../../../out"}]
    },
    "a server": {"logger": ["loggers.MLFlowLogger", {"tracking_uri": "http://127.0.0.1:9"}]},
    "a profile": {"profiler": ["profilers.SimpleProfiler", {"dirpath": "out", "filename": "x"}]},
}


@pytest.mark.parametrize("writer", WRITERS)
def test_the_configuration_of_a_strangers_run_writes_nowhere_else(here, capsys, writer):
    config = Path("runs/char_lm/a/config.yaml")
    content = yaml.safe_load(config.read_text())
    [(section, (name, arguments))] = WRITERS[writer].items()
    one = {"class_path": LIGHTNINGS + name, "init_args": arguments}
    content["trainer"][section] = [one] if section == "callbacks" else one
    config.write_text(yaml.safe_dump(content))
    error = last_line(capsys, ["fit", "--resume", "runs/char_lm/a", "--trainer.max_steps", "2"], 3)
    assert "leads out of the run's folder" in error
    assert not Path("out").exists()


def test_a_run_whose_configuration_does_not_say_how_it_was_begun_is_resumed(here, capsys):
    config = Path("runs/char_lm/a/config.yaml")
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text())))  # without the comments
    error = last_line(capsys, ["fit", "--resume", "runs/char_lm/a", "--trainer.max_stepz", "2"], 2)
    assert "Did you mean '--trainer.max_steps'?" in error
    assert main(["fit", "--resume", "runs/char_lm/a", "--trainer.max_steps", "2"]) == 0


@pytest.mark.parametrize("content", [b"[" * 2_000, bytes(range(256)), b"- 1\n"])
def test_a_configuration_that_is_none_is_refused(here, capsys, content):
    Path("runs/char_lm/a/config.yaml").write_bytes(content)
    bare = ["fit", "char_lm", "--name", "a", "--resume"]
    for words in (["test", "--ckpt_path", str(LAST)], ["fit", "--resume", str(LAST)], bare):
        assert "config.yaml'" in last_line(capsys, words, 2)


def replaced(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update(values)


STATES: dict[str, Callable[[dict[str, Any]], None]] = {
    "no optimizer": lambda content: content.pop("optimizer_states"),
    "an optimizer that is none": replaced(optimizer_states=[1]),
    "another optimizer": lambda content: content["optimizer_states"][0]["param_groups"].clear(),
    "a schedule that is none": replaced(lr_schedulers="x"),
    "loops that are none": replaced(loops=[1]),
    "loops without progress": lambda content: content["loops"]["fit_loop"]["epoch_progress"].update(
        current="x"
    ),
    "callbacks that are none": replaced(callbacks=[1]),
    "states of callbacks that are none": lambda content: content["callbacks"].update(
        dict.fromkeys(content["callbacks"], "x")
    ),
    "data that are none": replaced(TextData="x"),
    "a place that is none": replaced(
        TextData={"loader": {"epoch": 0, "done": 1, "num_batches": 0}}
    ),
    "a place without names": replaced(TextData={"loader": {}}),
    "a version that is none": replaced(**{"pytorch-lightning_version": "x"}),
    "a step that is none": replaced(global_step="x"),
    "weights of another model": lambda content: content["state_dict"].popitem(),
    "a nested tensor": lambda content: content["state_dict"].update(
        {"head.bias": torch.nested.nested_tensor([torch.zeros(3)], layout=torch.jagged)}
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_states_that_do_not_fit_are_the_files_fault(here, capsys, case):
    content = torch.load(LAST, weights_only=True)
    STATES[case](content)
    torch.save(content, LAST)
    error = last_line(capsys, ["fit", "--resume", str(LAST), "--trainer.max_steps", "2"], 3)
    assert "last.ckpt" in error or "The checkpoint says no place in the data" in error


def test_what_a_checkpoint_says_never_reaches_the_terminal_raw(here, capsys):
    content = torch.load(LAST, weights_only=True)
    content["unrolled"]["version"] = "\x1b]0;title\x07\n  weights  many"
    content["hyper_parameters"]["spec"]["\x1b[2J"] = "\x9b2J"
    for state in content["callbacks"].values():
        state["best_model_score"] = "x"
    torch.save(content, LAST)
    assert main(["info", str(LAST)]) == 0
    said = capsys.readouterr().out
    assert not set(said) & set("\x1b\x07\x9b")
    assert r"\x1b]0;title\x07\n  weights  many" in said
    assert "best" not in said


def test_only_files_of_checkpoints_are_removed_by_a_resumed_run(here):
    plugin = CheckedCheckpointIO(CheckedTask(LAST, mmap=False))
    folder = LAST.parent
    shutil.copy(LAST, folder / "best.ckpt")
    kept = [
        here / "text.txt",
        folder / "..",
        f"{folder}/../checkpoints/last.ckpt",
        folder,
        f"local://{here}",
    ]
    for path in kept:
        plugin.remove_checkpoint(path)
    plugin.remove_checkpoint(folder / "best.ckpt")
    assert sorted(path.name for path in folder.iterdir()) == ["last.ckpt"]
    assert (here / "text.txt").is_file()


def test_the_gate_is_the_only_door():
    """Only the gate, and the reader of a backbone's weights, reads what torch has pickled."""
    doors = {"load", "load_from_checkpoint", "pl_load", "Unpickler"}
    found = set()
    for path in sorted(ROOT.glob("*.py")) + [
        path
        for folder in ("apps", "core", "data", "tasks")
        for path in (ROOT / folder).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if (
                    node.func.attr in doors
                    and isinstance(owner, ast.Name)
                    and owner.id in ("torch", "pickle", "jit")
                ):
                    found.add(str(path.relative_to(ROOT)))
                    keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    assert keywords.get("weights_only") == "True", path
    vision = {"core/vision/torchvision_weights.py", "core/vision/timm_backbone.py"}
    # looks whether what it is about to save can be read back
    saving = {"apps/run/folder/contents.py"}
    assert found <= {"loading.py", *vision, *saving}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    (folder / "text").write_text("ein hund\n")
    return folder


ODD = [None, "x", -1, 10**12, 1.5, [], {}, [1], {"a": 1}, True, 1e308, float("nan"), ["x", 1, {}]]


@pytest.mark.parametrize(
    ("words", "places"),
    [
        ("translate translation.ckpt text", ["length_penalty", "beam_size"]),
        ("caption caption.ckpt a.png", ["length_penalty", "beam_size", "max_length"]),
        ("caption caption.ckpt b.png", ["spec.image_size"]),
        ("label video.ckpt a.npy --format jsonl", ["spec.stride", "min_length", "median"]),
        ("label video.ckpt b.npy --format jsonl", ["spec.image_size", "spec.feature_size"]),
        ("label video.ckpt c.npy --format jsonl", ["spec.classes", "spec.background"]),
    ],
)
def test_a_setting_of_a_strangers_model_is_used_or_refused(
    models, monkeypatch, capsys, words, places
):
    """Of the wrong kind, or without measure: a line, no traceback, no hang, no memory."""
    monkeypatch.chdir(models)
    command, name, *rest = words.split()
    content = torch.load(name, weights_only=False)
    known = content["hyper_parameters"]
    for place in places:
        for odd in ODD:
            part, _, key = place.rpartition(".")
            content["hyper_parameters"] = (
                {**known, part: {**known[part], key: odd}} if part else {**known, key: odd}
            )
            torch.save(content, "odd.ckpt")
            assert main([command, "odd.ckpt", *rest]) in (0, 2, 3), (place, odd)
            assert "--debug" not in capsys.readouterr().err
