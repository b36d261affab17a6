"""What every task shares: its model's arguments, metrics of the configuration, what is saved."""

from __future__ import annotations

import inspect
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import unrolled.tasks
import yaml
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy
from unrolled.cli import main
from unrolled.core import GRU, ImageEncoder, SmallCNN
from unrolled.data import ScenesData, SegmentationData, TextData
from unrolled.errors import DataError
from unrolled.loading import CheckedTask
from unrolled.tasks import Captioning, CharLM, Task
from video_models import CLASSES, make_task, write_videos

TASKS = [
    cls
    for name in unrolled.tasks.__all__
    if isinstance(cls := getattr(unrolled.tasks, name), type)
    and issubclass(cls, Task)
    and cls is not Task
]


def comparable(default: Any) -> Any:
    """A default; of a function what it does."""
    code = getattr(default, "__code__", None)
    return (code.co_code, code.co_names, code.co_consts[1:]) if code else default


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_a_task_has_its_models_arguments_with_the_same_types_and_defaults(task):
    model = get_type_hints(task)["model"]
    of_task, of_model = (inspect.signature(cls).parameters for cls in (task, model))
    for name, argument in of_model.items():
        assert of_task[name].annotation == argument.annotation, name
        assert comparable(of_task[name].default) == comparable(argument.default), name
    assert [name for name in of_task if name in of_model] == list(of_model)


def test_a_task_and_a_model_of_ones_own(tmp_path, monkeypatch, trainer):
    (tmp_path / "my_models.py").write_text(
        "import torch\nfrom torch import nn\nfrom unrolled.tasks import Model\n"
        "class MyModel(Model):\n"
        "    def __init__(self, spec, width: int = 3):\n"
        "        super().__init__(spec)\n        self.layer = nn.Linear(width, 1)\n"
    )
    (tmp_path / "my_tasks.py").write_text(
        "import torch\nfrom unrolled.tasks import Task\nfrom my_models import MyModel\n"
        "class MyTask(Task):\n"
        "    def __init__(self, spec, width: int = 3, rate: float = 0.1):\n"
        "        super().__init__(\n"
        "            optimizer=torch.optim.SGD, lr_scheduler=None, compile_core=False\n        )\n"
        "        self.save_hyperparameters(logger=False)\n"
        "        self.model = MyModel(spec, width)\n        self.rate = rate\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from my_tasks import MyTask

    task = MyTask({"names": ["a"]}, width=5)
    run = trainer()
    run.strategy.connect(task)
    run.save_checkpoint(path := tmp_path / "mine.ckpt")
    with pytest.raises(DataError, match=r"asks for the class 'my_tasks\.MyTask'.*\n.*--trust"):
        unrolled.load(path)
    again = unrolled.load(path, trust="my_tasks, my_models")
    assert type(again).__name__ == "MyModel"
    assert again.spec == {"names": ["a"]}
    assert torch.equal(again.layer.weight, task.model.layer.weight)
    assert CheckedTask(path, trust="my_tasks, my_models").build_task().rate == 0.1


class TestMetrics:
    def test_one_of_the_configuration_is_logged_and_needs_no_trust(self, here, capsys):
        accuracy = {
            "class_path": "torchmetrics.classification.MulticlassAccuracy",
            "init_args": {"num_classes": 13, "average": "micro"},
        }
        config = {"model": {"init_args": {"metrics": {"right": accuracy}}}}
        Path("more.yaml").write_text(yaml.safe_dump(config))
        flags = ["--data.batch_size", "1", "--trainer.accelerator", "cpu", "--name", "b"]
        flags += ["--trainer.max_steps", "1", "--config", "more.yaml"]
        assert main(["fit", "char_lm", "--data.path", "text.txt", *flags]) == 0
        capsys.readouterr()
        assert main(["test", "--ckpt_path", "runs/char_lm/b"]) == 0
        assert "test/right  0." in capsys.readouterr().out
        assert unrolled.load("runs/char_lm/b").generate("the", length=0) == ""

    def test_characters_are_counted_each_once(self, text_file, trainer):
        data = TextData(str(text_file), batch_size=3, chunk_length=16)
        counts = partial(
            MulticlassAccuracy, len(data.spec["vocabulary"]["symbols"]) + 2, average="micro"
        )
        task = CharLM(data.spec, partial(GRU, hidden_size=8), metrics={"right": counts})
        found = trainer().validate(task, data, verbose=False)[0]["val/right"]
        right, characters, state = 0, 0, None
        for batch in data.loader("val"):
            logits, state = task.model(batch.input, state, lengths=batch.lengths, reset=batch.reset)
            for row, length in enumerate(batch.lengths):
                hits = logits[row, :length].argmax(-1) == batch.target[row, :length]
                right, characters = right + int(hits.sum()), characters + int(length)
        assert found == pytest.approx(right / characters)

    def test_frames_are_counted_at_the_rate_of_their_labels(self, tmp_path, trainer):
        write_videos(tmp_path)
        data = SegmentationData(str(tmp_path), stride=2, eval_chunk_length=3)
        counts = partial(MulticlassAccuracy, len(CLASSES), average="micro")
        task = make_task(spec=data.spec, metrics={"right": counts})
        scores = trainer().test(task, data, verbose=False)[0]
        assert scores["test/right"] == pytest.approx(scores["test/accuracy"] / 100)

    @pytest.mark.parametrize("name", ["bits_per_character", "keys", "a.b", "a/b"])
    def test_a_name_is_a_new_one(self, name):
        with pytest.raises(ValueError, match=f"metrics: the name '{name}' is taken, or not of"):
            CharLM({"vocabulary": {"kind": "bytes", "symbols": ""}}, metrics={name: torch.nn.ReLU})

    def test_texts_are_given_with_their_references(self, trainer, tmp_path):
        class Pairs(Metric):
            def __init__(self) -> None:
                super().__init__()
                self.add_state("pairs", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

            def update(self, texts, references):
                assert all(isinstance(text, str) for text in texts)
                self.pairs += sum(1 for _ in zip(texts, references, strict=True))

            def compute(self):
                return self.pairs

        data = ScenesData(4, 5, test_size=0, batch_size=2, cache_dir=str(tmp_path))
        encoder = partial(ImageEncoder, backbone=partial(SmallCNN, channels=[4, 6]))
        task = Captioning(data.spec, encoder, partial(GRU, hidden_size=4), metrics={"n": Pairs})
        assert trainer().validate(task, data, verbose=False)[0]["val/n"] == 5


def test_what_is_left_early_ends_without_a_word(trained):
    """A stream of text that its reader has had enough of, at the program's end and before it."""
    code = (
        f"import unrolled; model = unrolled.load({str(trained / 'runs/char_lm/a')!r})\n"
        "kept = model.generate_stream(['the']); next(kept)\n"
        "left = model.generate_stream(['the']); next(left); del left\n"
        "import torch; assert not torch.is_inference_mode_enabled()"
    )
    old_torch = "ignore:Load only checkpoints that you trust"
    command = [sys.executable, "-W", old_torch, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not run.stderr
