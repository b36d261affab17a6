"""Planted checkpoints and configurations: nothing that they name is run by any command."""

from __future__ import annotations

import copy
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import unrolled
import yaml
from covering import ALL_OR_SOME, in_turn
from unrolled.apps.run.saving import CheckedCheckpointIO
from unrolled.apps.run.trust import resolve
from unrolled.class_paths import ClassPaths
from unrolled.cli import main
from unrolled.errors import DataError
from unrolled.loading import CheckedCheckpoint, CheckedTask

TRACE = "executed"  # what a payload makes in the working folder when it is run
SHELL = f"touch {TRACE}"
SOURCE = f"open({TRACE!r}, 'w')"


@pytest.fixture
def here(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with a run, and a module in it that leaves a trace when it is imported."""
    (here / "planted.py").write_text(
        f"{SOURCE}\nfrom unrolled.core import LSTM\nclass Core(LSTM):\n    pass\n"
    )
    monkeypatch.syspath_prepend(here)
    return here


def executed() -> bool:
    return Path(TRACE).exists()


class Reduced:
    """What pickle would rebuild by calling a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (TRACE,)


def named(class_path: Any, **init_args: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": init_args}


def endless() -> list[Any]:
    nest: list[Any] = []
    nest.append(nest)
    return nest


def doubled() -> list[Any]:
    nest: list[Any] = ["x"]
    for _ in range(60):
        nest = [nest, nest]
    return nest


EXEC = named("torch.fx.graph_module._exec_with_source", src=SOURCE, globals={})
# Hyper-parameters that a checkpoint of a character language model is given.
HYPER_PARAMETERS: dict[str, dict[str, Any]] = {
    "a function of torch": {"optimizer": EXEC},
    "a function as a core": {"core": EXEC},
    "a function as a schedule": {"lr_scheduler": EXEC},
    "an attribute of an imported module": {"optimizer": named("torch.os.system", command=SHELL)},
    "an attribute below a trusted module": {
        "optimizer": named("torch.nn.modules.module.os.system", command=SHELL)
    },
    "a module below a trusted one": {"optimizer": named("torch.nn.functional.os.system")},
    "a hub": {"core": named("torch.hub.load", repo_or_dir=".", model="x", source="local")},
    "another checkpoint": {"core": named("torch.load", f="evil.pt", weights_only=False)},
    "a program in TorchScript": {"core": named("torch.jit.load", f="evil.pt")},
    "an extension to compile": {"core": named("torch.utils.cpp_extension.load", name="x")},
    "a function of torch.optim": {"optimizer": named("torch.optim.swa_utils.get_ema_avg_fn")},
    "a function of torch.nn": {"core": named("torch.nn.utils.clip_grad_norm_")},
    "a class of another kind": {"core": named("torch.nn.Linear", in_features=3, out_features=4)},
    "a model as a core": {"core": named("unrolled.tasks.CharLM")},
    "a core by an alias": {"core": named("unrolled.tasks.char_lm.task.LSTM", hidden_size=4)},
    "a core that is abstract": {"core": named("unrolled.core.RecurrentCore", output_size=3)},
    "a process": {"core": named("subprocess.Popen", args=SHELL, shell=True)},
    "the command line": {"core": named("unrolled.__main__.main")},
    "the console": {"core": named("unrolled.cli.entry")},
    "a package on the path": {"core": named("planted.Core", hidden_size=4)},
    "a name by its text": {"core": "os.system"},
    "a name as YAML": {"optimizer": f"{{class_path: os.system, init_args: {{command: {SHELL}}}}}"},
    "names in a list": {"core": [named("os.system", command=SHELL)]},
    "a core within a core": {
        "core": named("unrolled.core.Stacked", core=named("os.system", command=SHELL), num_layers=2)
    },
    "text within a core": {"core": named("unrolled.core.Stacked", core="os.system", num_layers=2)},
    "a name that is no text": {"core": named(["os.system"])},
    "a name with a blank": {"core": named("unrolled.core. LSTM", hidden_size=4)},
    "an empty name": {"core": named("")},
    "a private name": {"core": named("unrolled.core.recurrent._describe")},
    "another model": {"_class_path": "os.system"},
    "a core in the model's place": {"_class_path": "unrolled.core.LSTM"},
    "a class in the spec": {"spec": {"vocabulary": named("os.system", command=SHELL)}},
    "a class deep in the spec": {
        "spec": {"vocabulary": {"kind": "bytes", "symbols": "", "x": [named("os.system")]}}
    },
    "a nest without end": {"core": endless()},
    "a spec that is none": {"spec": ["vocabulary"]},
    "a tensor for a number": {"embedding_size": torch.tensor([3, 4])},
    "a set": {"embedding_size": {3}},
    "arguments without names": {"core": {"class_path": "unrolled.core.LSTM", "init_args": [4]}},
    "a name to a terminal": {"\x1b[31m\n\n\n": 3},
}


def write(path: Path, changes: dict[str, Any]) -> None:
    """Write a checkpoint with changed hyper-parameters."""
    content = copy.deepcopy(torch.load(path, weights_only=True))
    content["hyper_parameters"].update(changes)
    torch.save(content, path)


def commands(checkpoint: str) -> dict[str, list[str]]:
    """Return every command that reads a checkpoint."""
    data = ["--data.path", "text.txt"]
    return {
        "info": ["info", checkpoint],
        "average": ["average", "new.ckpt", "runs/char_lm/b", checkpoint],
        "shortlist": [
            *("shortlist", "new.ckpt", checkpoint),
            *("--source", "text.txt", "--target", "text.txt"),
        ],
        "generate": ["generate", checkpoint, "--prompt", "the"],
        "translate": ["translate", checkpoint, "text.txt"],
        "caption": ["caption", checkpoint, "text.txt"],
        "label": ["label", checkpoint, "text.txt"],
        "validate": ["validate", "char_lm/text", *data, "--ckpt_path", checkpoint],
        "test": ["test", "--ckpt_path", checkpoint],
        "predict": ["predict", "char_lm/text", *data, "--ckpt_path", checkpoint],
        "fit --resume": ["fit", "char_lm", "--name", "a", "--resume"],
        "fit --resume PATH": ["fit", "--resume", checkpoint],
        "fit --init_from": ["fit", "char_lm", *data, "--init_from", checkpoint],
    }


@ALL_OR_SOME
@pytest.mark.parametrize("payload", HYPER_PARAMETERS)
def test_a_planted_name_is_refused_in_two_lines_and_never_run(here, capsys, payload, every):
    last = Path("runs/char_lm/a/checkpoints/last.ckpt")
    shutil.copytree("runs/char_lm/a", "runs/char_lm/b")
    write(last, HYPER_PARAMETERS[payload])
    with pytest.raises(DataError):
        unrolled.load(last)
    number = list(HYPER_PARAMETERS).index(payload)
    for command, words in in_turn(commands(str(last)).items(), number, every=every, count=2):
        # A core that can't be made is found by what makes the model.
        made = payload == "a core that is abstract"
        if made and command in (
            "info",
            "average",
            "fit --init_from",
            "fit --resume",
            "fit --resume PATH",
        ):
            continue
        assert main(words) == 3, command
        said = capsys.readouterr().err
        assert 1 <= len(said.strip().splitlines()) <= 2, said
        assert "last.ckpt" in said, said
        assert not executed(), command
    assert not Path("new.ckpt").exists()


@pytest.mark.parametrize("place", ["weights", "hyper-parameters", "callbacks", "on its own"])
def test_pickled_code_is_refused_by_every_command(here, capsys, place):
    last = Path("runs/char_lm/a/checkpoints/last.ckpt")
    shutil.copytree("runs/char_lm/a", "runs/char_lm/b")
    content = torch.load(last, weights_only=True)
    if place == "weights":
        content["state_dict"]["head.bias"] = Reduced()
    elif place == "hyper-parameters":
        content["hyper_parameters"]["core"] = Reduced()
    elif place == "callbacks":
        content["callbacks"] = Reduced()
    else:
        content = Reduced()
    torch.save(content, last)
    for command, words in commands(str(last)).items():
        assert main(words) == 3, command
        assert "holds pickled code (posix.mkdir)" in capsys.readouterr().err
        assert not executed(), command


def test_a_program_in_torchscript_is_no_checkpoint(here):
    torch.save({}, "script.ckpt")
    with zipfile.ZipFile("script.ckpt", "a") as archive:
        archive.writestr("script/constants.pkl", b"\x80\x02).")
    with pytest.raises(DataError, match="is a program in TorchScript and not a checkpoint"):
        unrolled.load("script.ckpt")


def test_a_packed_archive_is_no_checkpoint(here):
    with zipfile.ZipFile("bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10_000_000))
    with pytest.raises(DataError, match="is not a checkpoint"):
        unrolled.load("bomb.ckpt")


@pytest.mark.parametrize(
    ("where", "value", "problem"),
    [
        ("model.optimizer", named("os.system", command=SHELL), "a function, not an optimizer"),
        ("model.optimizer", named("torch.os.system", command=SHELL), "does not have"),
        ("model.optimizer", "os.system", "os.system"),
        ("model.lr_scheduler", named("os.system", command=SHELL), "a function, not"),
        ("model.core", named("torch.hub.load", repo_or_dir=".", model="x"), "a function, not a"),
        ("model.core", named("subprocess.Popen", args=SHELL, shell=True), "RecurrentCore"),
        ("model.core", "os.system", "os.system"),
        ("data.spec", {"vocabulary": named("os.system", command=SHELL)}, "a function, not a class"),
        ("trainer.callbacks", [named("subprocess.Popen", args=SHELL, shell=True)], "Callback"),
        ("trainer.logger", named("os.system", command=SHELL), "Logger"),
    ],
    ids=str,
)
def test_a_configuration_makes_classes_of_the_right_kind_only(here, capsys, where, value, problem):
    config = {
        "model": {"class_path": "unrolled.tasks.CharLM", "init_args": {}},
        "data": {"class_path": "unrolled.data.TextData", "init_args": {"path": "text.txt"}},
        "trainer": {"max_steps": 1},
    }
    section, name = where.split(".")
    (config[section] if section == "trainer" else config[section]["init_args"])[name] = value
    Path("planted.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "planted.yaml"]) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert len(said.strip().splitlines()) <= 2
    assert not executed()


@pytest.mark.parametrize("command", [["fit", "--resume"], ["test", "--ckpt_path"]])
@pytest.mark.parametrize("name", ["planted.Data", "os.system"])
def test_the_configuration_beside_a_strangers_checkpoint_is_trusted_as_little(
    here, capsys, command, name
):
    config = Path("runs/char_lm/a/config.yaml")
    text = config.read_text()
    assert "class_path: unrolled.data.TextData" in text
    config.write_text(text.replace("class_path: unrolled.data.TextData", f"class_path: {name}"))
    assert main([*command, "runs/char_lm/a"]) == 3
    said = capsys.readouterr().err
    assert f"asks for the class '{name}'" in said
    assert "--trust" in said
    assert not executed()


# Sections of a configuration that give text, keys or files where the parser would import a class.
SECTIONS: dict[str, dict[str, Any]] = {
    "text for a class": {"data": "planted.Data"},
    "YAML for a class": {"data": "{class_path: planted.Data}"},
    "a file for a class": {"data": "data.yaml"},
    "a dotted key": {"data.class_path": "planted.Data"},
    "text for a callback": {"trainer": {"callbacks": ["planted.Core"]}},
    "text for a logger": {"trainer": {"logger": "planted.Core"}},
    "text for a profiler, which may be text": {"trainer": {"profiler": "planted.Core"}},
    "text for a function": {
        "trainer": {
            "callbacks": [
                named("lightning.pytorch.callbacks.LambdaCallback", on_fit_start="planted.run")
            ]
        }
    },
    "text for a function that a callback passes on": {
        "trainer": {
            "callbacks": [
                named("lightning.pytorch.callbacks.WeightAveraging", avg_fn="planted.run")
            ]
        }
    },
    "text for a section": {"trainer": "data.yaml"},
    "another configuration": {"config": "more.yaml"},
    "more configurations": {"config": ["more.yaml"]},
    "a nest that doubles": {"data": named("unrolled.data.TextData", path=doubled())},
    "arguments without names": {
        "data": {"class_path": "unrolled.data.TextData", "init_args": ["text.txt"]}
    },
}


@pytest.mark.parametrize("payload", SECTIONS)
def test_nothing_is_imported_for_text_in_the_configuration_beside_a_strangers_checkpoint(
    here, capsys, payload
):
    Path("data.yaml").write_text("class_path: planted.Data\n")
    Path("more.yaml").write_text("data: {class_path: planted.Data}\n")
    config = Path("runs/char_lm/a/config.yaml")
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **SECTIONS[payload]}))
    for command in (["fit", "--resume"], ["test", "--ckpt_path"]):
        if command[0] == "fit" or "data" in SECTIONS[payload]:
            assert main([*command, "runs/char_lm/a"]) == 3
            said = capsys.readouterr().err
            assert "config" in said
            assert len(said.strip().splitlines()) <= 2
    assert not executed()


@pytest.mark.parametrize(
    "changes", [{"core": doubled()}, {"spec": {"vocabulary": doubled()}}], ids=["core", "spec"]
)
def test_a_nest_that_doubles_is_refused_in_time(here, changes):
    last = Path("runs/char_lm/a/checkpoints/last.ckpt")
    write(last, changes)
    with pytest.raises(DataError, match="nested too deeply, or without end"):
        CheckedCheckpoint(last)


def test_a_class_that_a_trusted_package_only_imports_is_not_trusted(here):
    Path("strange.py").write_text("from unrolled.core import LSTM\nclass Core(LSTM):\n    pass\n")
    Path("mine_imports.py").write_text("from strange import Core\n")
    last = Path("runs/char_lm/a/checkpoints/last.ckpt")
    write(last, {"core": named("mine_imports.Core", hidden_size=4)})
    with pytest.raises(DataError, match=r"which is defined as 'strange\.Core'"):
        unrolled.load(last, trust="mine_imports")


def test_a_run_with_usual_callbacks_is_resumed_by_its_path(here):
    """What may be text, and what Lightning exports from another package of its own."""
    config = Path("runs/char_lm/a/config.yaml")
    content = yaml.safe_load(config.read_text())
    content["trainer"]["callbacks"] += [named("lightning.pytorch.callbacks.RichProgressBar")]
    content["trainer"]["plugins"] += [
        named("lightning.pytorch.plugins.environments.SLURMEnvironment", auto_requeue=False)
    ]
    content["trainer"] |= {"max_time": "00:01:00:00", "profiler": "simple", "max_steps": 2}
    config.write_text(yaml.safe_dump(content))
    assert main(["fit", "--resume", "runs/char_lm/a"]) == 0
    assert "dim underline" in config.read_text()
    assert main(["fit", "--resume", "runs/char_lm/a", "--trainer.max_steps", "3"]) == 0


def test_settings_that_a_class_passes_on_and_spans_of_time_are_no_names():
    """As Lightning's parser fills them in, they stand in the configuration of a run."""
    rules = ClassPaths("x", ("lightning.pytorch", "lightning.fabric"), DataError, parsed=True)
    strategy = named(
        "lightning.pytorch.strategies.DDPStrategy", timeout="0:30:00", output_device=None, dim=0
    )
    profiler = named("lightning.pytorch.profilers.PyTorchProfiler", record_shapes=False)
    resolve(rules, {"trainer": {"strategy": strategy, "profiler": profiler}})
    profiler["init_args"]["on_trace_ready"] = "planted.run"
    with pytest.raises(DataError, match="has no argument 'on_trace_ready'"):
        resolve(rules, {"trainer": {"profiler": profiler}})


def test_names_among_lightnings_own_parameters_are_not_looked_up(here):
    write(Path("runs/char_lm/a/checkpoints/last.ckpt"), {"_x": named("planted.Core")})
    assert (
        main(["average", "new.ckpt", "runs/char_lm/a", "runs/char_lm/a/checkpoints/last.ckpt"]) == 0
    )
    assert not executed()


def test_text_for_an_argument_without_a_type_is_text(here):
    """A class of one's own need not be annotated."""
    Path("mine_untyped.py").write_text(
        "from unrolled.core import LSTM\nclass Core(LSTM):\n"
        "    def __init__(self, input_size, hidden_size=4, where=None):\n"
        "        super().__init__(input_size, hidden_size)\n        self.where = where\n"
    )
    last = Path("runs/char_lm/a/checkpoints/last.ckpt")
    write(last, {"core": named("mine_untyped.Core", where="a.b/c")})
    assert unrolled.load(last, trust="mine_untyped").core.where == "a.b/c"


def test_a_run_is_resumed_and_tested_with_a_package_that_is_trusted(here):
    Path("mine.py").write_text(
        "from unrolled.data import TextData\nclass Mine(TextData):\n    pass\n"
    )
    config = Path("runs/char_lm/a/config.yaml")
    config.write_text(config.read_text().replace("unrolled.data.TextData", "mine.Mine"))
    assert main(["test", "--ckpt_path", "runs/char_lm/a", "--trust", "mine"]) == 0
    assert (
        main(["fit", "--resume", "runs/char_lm/a", "--trust", "mine", "--trainer.max_steps", "2"])
        == 0
    )


def test_what_was_checked_is_what_lightning_gets(here):
    """The file is read once: what takes its place meanwhile is not seen."""
    last = Path("runs/char_lm/a/checkpoints/last.ckpt")
    checked = CheckedTask(last, mmap=False)
    torch.save({"state_dict": Reduced()}, last)
    again = CheckedCheckpointIO(checked).load_checkpoint(last)
    assert again == checked.content
    with pytest.raises(ValueError, match="was not checked"):
        CheckedCheckpointIO(checked).load_checkpoint("other.ckpt")
