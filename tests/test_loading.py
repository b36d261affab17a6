"""Checkpoints are read as data: whole ones load, and nothing in any of them is executed."""

from __future__ import annotations

import functools
import math
import os
import warnings
from pathlib import Path

import pytest
import torch
import unrolled
from lightning.pytorch import Trainer
from unrolled.core import LSTM, Stacked
from unrolled.data.vocabulary import CharacterVocabulary
from unrolled.errors import DataError, SetupError, UsageError
from unrolled.loading import CheckedCheckpoint, CheckedTask, torch_problem
from unrolled.tasks import CharLM, CharModel, Task, VideoModel


@pytest.fixture
def run(trained: Path) -> Path:
    return trained / "runs/char_lm/a"


@pytest.fixture
def last(run: Path) -> Path:
    return run / "checkpoints/last.ckpt"


@pytest.fixture
def altered(last: Path, tmp_path: Path):
    """A function that writes a changed copy of a checkpoint."""

    def write(change) -> Path:
        content = torch.load(last, weights_only=True)
        change(content)
        path = tmp_path / "changed.ckpt"
        torch.save(content, path)
        return path

    return write


def spec() -> dict:
    return {"vocabulary": CharacterVocabulary("abc ").to_spec()}


def test_load_gives_a_model_ready_for_use(last):
    model = unrolled.load(last)
    assert type(model) is CharModel
    assert not model.training
    assert isinstance(model.core, LSTM)
    assert model.core.output_size == 4
    stored = torch.load(last, weights_only=True)["state_dict"]
    assert {f"model.{name}" for name in model.state_dict()} == stored.keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[f"model.{name}"])
    assert model.generate("the", length=5, seed=0) == model.generate("the", length=5, seed=0)


def test_load_takes_the_folder_of_a_run_or_of_a_tasks_runs(run, last):
    weights = unrolled.load(last).state_dict()
    for folder in (run, run.parent, str(run)):
        assert all(
            torch.equal(value, weights[name])
            for name, value in unrolled.load(folder).state_dict().items()
        )


def saved(task: Task, path: Path) -> Path:
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    return path


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize(
    "core",
    [
        functools.partial(LSTM, hidden_size=6),
        functools.partial(Stacked, core=functools.partial(LSTM, hidden_size=6), num_layers=2),
    ],
)
def test_a_model_made_in_python_is_rebuilt(tmp_path, core):
    task = CharLM(spec(), core=core, embedding_size=5)
    again = unrolled.load(saved(task, tmp_path / "mine.ckpt"))
    assert type(again.core) is type(task.model.core)
    assert again.embedding.weight.shape == (task.model.vocabulary.size, 5)
    assert same(again, task.model)


class Outer:
    class Inner(LSTM):
        pass


def test_a_class_within_a_class_is_said_to_be_lost(tmp_path):
    task = CharLM(spec(), core=functools.partial(Outer.Inner, hidden_size=6))
    assert task.lost_hyperparameters == ["core"]
    with pytest.raises(DataError, match="does not say what core was: a function made it"):
        unrolled.load(saved(task, tmp_path / "lost.ckpt"))


def test_what_only_the_task_has_lost_is_no_loss_to_the_model(tmp_path):
    task = CharLM(spec(), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    path = saved(task, tmp_path / "lost.ckpt")
    assert same(unrolled.load(path), task.model)
    with pytest.raises(DataError, match="does not say what optimizer was"):
        CheckedTask(path).build_task()


def test_the_task_is_made_again_too_and_can_be_saved_again(last, tmp_path):
    checkpoint = CheckedTask(last)
    task = checkpoint.build_task()
    assert type(task) is CharLM
    assert task.model.core.output_size == 4
    task.load_state_dict(checkpoint.weights)
    again = unrolled.load(saved(task, tmp_path / "again.ckpt"))
    assert same(again, unrolled.load(last))


def test_a_model_may_have_to_be_of_a_kind(last):
    assert type(unrolled.load(last, kind=CharModel)) is CharModel
    with pytest.raises(UsageError, match=r"last\.ckpt' holds a CharModel, not a VideoModel"):
        unrolled.load(last, kind=VideoModel)


def test_a_missing_file_is_answered_with_the_nearest(last):
    with pytest.raises(
        DataError, match=r"There is no checkpoint .*lst\.ckpt'\. Did you mean '.*last\.ckpt'"
    ):
        unrolled.load(last.with_name("lst.ckpt"))


def test_a_url_is_refused():
    with pytest.raises(DataError, match="is a URL: download"):
        unrolled.load("https://example.org/last.ckpt")


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(DataError, match="no checkpoint in the folder"):
        unrolled.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda whole: b"", "is empty"),
        (lambda whole: whole[: len(whole) // 2], "is truncated"),
        (lambda whole: whole[:-1], "is truncated"),
        (lambda whole: whole[:3000] + bytes(64) + whole[3064:], "is damaged"),
        (lambda whole: b"hello", "is not a checkpoint"),
    ],
)
def test_a_broken_file_is_named(last, tmp_path, content, problem):
    path = tmp_path / "broken.ckpt"
    path.write_bytes(content(last.read_bytes()))
    with pytest.raises(DataError, match=rf"broken\.ckpt' {problem}"):
        unrolled.load(path)


def test_a_zip_of_something_else_is_no_checkpoint(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "other.ckpt", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(DataError, match="is not a checkpoint"):
        unrolled.load(tmp_path / "other.ckpt")


@pytest.mark.parametrize(
    "content", [[1, 2], {"state_dict": {}}, {"state_dict": {}, "hyper_parameters": {}}, {"a": 1}]
)
def test_a_checkpoint_of_another_program_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "theirs.ckpt")
    with pytest.raises(DataError, match="is not a checkpoint of `unrolled`"):
        unrolled.load(tmp_path / "theirs.ckpt")


class Evil:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_pickled_code_is_refused_and_never_executed(tmp_path, legacy):
    victim = tmp_path / "executed"
    content = {"state_dict": {}, "hyper_parameters": {}, "unrolled": {}, "evil": Evil(victim)}
    torch.save(content, tmp_path / "evil.ckpt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        DataError, match="is not a checkpoint" if legacy else r"holds pickled code \(.*mkdir\)"
    ):
        unrolled.load(tmp_path / "evil.ckpt")
    assert not victim.exists()


@pytest.fixture
def evil_module(tmp_path, monkeypatch) -> Path:
    """A module on the path that leaves a trace when it is imported."""
    trace = tmp_path / "imported"
    (tmp_path / "evil_module.py").write_text(
        f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n"
        "from unrolled.core import LSTM\nclass Core(LSTM):\n    pass\n"
        "def function(size):\n    return Core(size, 8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return trace


def set_core(value):
    return lambda content: content["hyper_parameters"].update(core=value)


@pytest.mark.parametrize(
    "change",
    [
        set_core({"class_path": "evil_module.Core", "init_args": {"hidden_size": 4}}),
        set_core(
            {
                "class_path": "unrolled.core.Stacked",
                "init_args": {"core": {"class_path": "evil_module.Core"}},
            }
        ),
        set_core({"class_path": ["evil_module.Core"]}),
        lambda content: content["hyper_parameters"].update(_class_path="evil_module.Task"),
        lambda content: content["unrolled"].update(task="evil_module.Task"),
        lambda content: content["unrolled"].update(model="evil_module.Model"),
        lambda content: content["hyper_parameters"].update(
            extra=[{"a": {"class_path": "evil_module.Core"}}]
        ),
    ],
)
def test_a_class_of_an_untrusted_package_is_refused_before_it_is_imported(
    altered, evil_module, change
):
    path = altered(change)
    with pytest.raises(
        DataError, match=r"which is none of `unrolled`, `torch\.nn` or `torch\.optim`: not loaded"
    ):
        unrolled.load(path)
    assert not evil_module.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            set_core("evil_module.function"),
            "gives the text 'evil_module.function' for CharModel.core",
        ),
        (set_core("class_path: evil_module.Core"), "gives the text"),
        (
            set_core([{"class_path": "torch.nn.Linear"}]),
            "names a class for CharModel.core, which takes none",
        ),
        (set_core(["evil_module.function"]), "gives the text"),
        (set_core({"class_path": "unrolled.core.GUR"}), "which this version does not have"),
        (
            set_core({"class_path": "unrolled.core.LSTM", "init_args": {"hidden_sise": 3}}),
            "no argument 'hidden_sise'",
        ),
        (set_core({"class_path": "unrolled.core.LSTM", "call": {}}), "unknown key 'call'"),
        (
            lambda content: (
                content["hyper_parameters"].update(size=3),
                content["unrolled"]["arguments"].append("size"),
            ),
            "CharModel has no argument 'size'",
        ),
        (
            lambda content: content["hyper_parameters"].update(_class_path="torch.nn.Identity"),
            "names two tasks",
        ),
        (lambda content: content["unrolled"].update(model="torch.nn.Identity"), "is not a model"),
        (lambda content: content["unrolled"].update(arguments=[3]), "is no text"),
        (lambda content: content["unrolled"].update(arguments={}), "is a dict, not a list"),
        (lambda content: content["unrolled"].pop("model"), "of an early version"),
        (
            lambda content: content["hyper_parameters"].update(spec={"vocabulary": {}}),
            "can't be made",
        ),
        (lambda content: content["unrolled"].update(lost=["core"]), "does not say what core was"),
        (lambda content: content["state_dict"].popitem(), "the weights don't fit"),
    ],
)
def test_hyper_parameters_that_are_not_the_classs_are_refused(
    altered, evil_module, change, message
):
    path = altered(change)
    with pytest.raises(DataError, match=message):
        unrolled.load(path)
    assert not evil_module.exists()


def set_task(name):
    def change(content):
        content["hyper_parameters"]["_class_path"] = content["unrolled"]["task"] = name

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: content["hyper_parameters"].update(size=3),
            "CharLM has no argument 'size'",
        ),
        (set_task("torch.nn.Identity"), "is not a task"),
        (
            lambda content: content["hyper_parameters"].update(
                optimizer={"class_path": "torch.nn.Linear"}
            ),
            "is not an optimizer",
        ),
    ],
)
def test_what_makes_the_task_looks_at_the_kinds_of_its_arguments(altered, change, message):
    path = altered(change)
    assert unrolled.load(path).generate("the", length=0) == ""
    with pytest.raises(DataError, match=message):
        CheckedTask(path)


def test_an_instantiator_in_the_checkpoint_is_never_called(altered, evil_module):
    path = altered(
        lambda content: content["hyper_parameters"].update(_instantiator="evil_module.function")
    )
    assert isinstance(unrolled.load(path), CharModel)
    assert not evil_module.exists()


def test_a_trusted_package_is_loaded(altered, evil_module):
    path = altered(set_core({"class_path": "evil_module.Core", "init_args": {"hidden_size": 4}}))
    assert type(unrolled.load(path, trust=["evil_module"]).core).__name__ == "Core"
    with pytest.raises(DataError, match="trust=\\['evil_module'\\]"):
        unrolled.load(path, trust=["evil"])


def test_devices(last):
    with pytest.raises(UsageError, match="There is no kind of device 'gpu'"):
        unrolled.load(last, device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(SetupError, match="There is no device 'cuda' here"):
            unrolled.load(last, device="cuda")
    assert next(unrolled.load(last, device="meta").parameters()).is_meta


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("2.3.1", "CVE-2025-32434"),
        ("2.5.1+cu121", "CVE-2025-32434"),
        ("2.6.0", "CVE-2026-24747"),
        ("2.9.1", "CVE-2026-24747"),
    ],
)
def test_versions_of_torch_that_load_unsafely(last, monkeypatch, version, problem):
    assert problem in torch_problem(version)
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.warns(UserWarning, match=problem):
        CheckedCheckpoint(last)


def test_other_versions_of_torch_load_without_a_warning(last):
    assert torch_problem("2.10.0") is None
    assert torch_problem("3.0") is None
    if torch_problem(torch.__version__) is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert CheckedCheckpoint(last).content["global_step"] == 1


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_write_no_text(altered, broken):
    path = altered(lambda content: content["state_dict"]["model.head.weight"].fill_(broken))
    with pytest.raises(DataError, match=r"1 of its tensors hold NaN .*head.weight.*\n.*earlier"):
        unrolled.load(path)
    forbidden = altered(lambda content: content["state_dict"]["model.head.bias"].fill_(-math.inf))
    assert unrolled.load(forbidden)  # a bias may forbid symbols
