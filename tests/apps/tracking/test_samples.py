"""What is shown and logged beside numbers: samples, the configuration, rates, the end of a run."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import torch
import yaml
from caption_models import first_batch, make_data
from caption_models import make_task as make_captioning
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import RUNS, enter, fit, read
from translation_models import make_task as make_translation
from unrolled.apps.run.resuming import random_state
from unrolled.apps.tracking import screens
from unrolled.apps.tracking.loggers import flattened
from unrolled.apps.tracking.samples import Samples, picture_of
from unrolled.data.batch import TextBatch, TranslationBatch, VideoBatch, padded
from unrolled.tasks import CharLM
from unrolled.tasks.schedules import WarmupCosine
from video_models import SPEC
from video_models import make_task as make_video

EVERY_2 = ["--trainer.val_check_interval", "2", "--trainer.log_every_n_steps", "1"]


@pytest.fixture(autouse=True)
def _no_curves() -> None:
    """Here they are looked at."""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    enter(tmp_path, monkeypatch)
    return tmp_path


def table(run: str = "1") -> list[dict[str, str]]:
    with (RUNS / run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_shows_logs_and_ends_with_a_picture(folder, capsys):
    assert fit(*EVERY_2, steps=4) == 0
    output = capsys.readouterr()
    lines = output.err.splitlines()
    scores = [n for n, line in enumerate(lines) if "val/loss" in line and "step" in line]
    assert len(scores) == 2
    samples = [lines[n + 1] for n in scores]  # right under the scores
    prompts = [re.fullmatch("sample: '(.+)' -> '.*'", line)[1] for line in samples]
    assert all(prompt in "the cat sat on the mat. " * 2 for prompt in prompts)
    run = RUNS / "1"
    end = output.out.splitlines()
    assert end[0].startswith(f"Trained to step 4: {run}/checkpoints/last.ckpt (best val/loss ")
    assert end[1:] == [
        f"Picture: {run}/curves.png",
        f"Next: unrolled generate {run} --prompt ...",
    ]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")

    board = EventAccumulator(str(run), size_guidance={"tensors": 0})
    board.Reload()
    texts = [event.tensor_proto.string_val[0].decode() for event in
             board.Tensors("val/sample/text_summary")]  # fmt: skip
    assert [f"sample: {text.strip()}" for text in texts] == samples
    configuration = yaml.safe_load((run / "config.yaml").read_text())
    flat = flattened(configuration)
    [start] = [
        data
        for name, data in board.summary_metadata.items()
        if name == "_hparams_/session_start_info"
    ]
    shown = start.plugin_data.content
    for name in ("data.init_args.chunk_length", "model.init_args.core.class_path"):
        assert name in flat
        assert name.encode() in shown
    assert yaml.safe_load((run / "hparams.yaml").read_text()) == configuration


def test_the_rate_stands_with_the_loss(folder):
    assert fit("--trainer.log_every_n_steps", "1", steps=3) == 0
    rows = [row for row in table() if row["train/loss"]]
    assert len(rows) == 3
    schedule = [float(row["train/lr"]) for row in rows]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.005)
    wanted = WarmupCosine(optimizer, total_steps=3)
    for rate in schedule:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        wanted.step()


def test_a_run_is_the_same_with_and_without_samples(folder, monkeypatch):
    flags = [*EVERY_2, "--model.output_dropout", "0.5"]
    assert fit(*flags, "--name", "with", steps=6) == 0
    monkeypatch.setattr(CharLM, "sample", lambda self, batch: None)
    assert fit(*flags, "--name", "without", steps=6) == 0
    assert table("with") == table("without")
    weights = [read("last", run)["state_dict"] for run in ("with", "without")]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])


def test_a_resumed_run_is_marked_where_it_goes_on(folder):
    assert fit(*EVERY_2, "--name", "a", steps=4) == 0
    assert not (RUNS / "a" / "resumed.csv").exists()
    for steps in (6, 8):
        assert fit(*EVERY_2, "--name", "a", "--resume", steps=steps) == 0
    assert (RUNS / "a" / "resumed.csv").read_text() == "step\n4\n6\n"


def test_a_sample_that_fails_costs_no_run(folder, monkeypatch):
    def fail(self, batch):
        raise RuntimeError("no words")

    monkeypatch.setattr(CharLM, "sample", fail)
    with pytest.warns(
        UserWarning, match="no samples will be shown: RuntimeError: no words"
    ) as told:
        assert fit(*EVERY_2, steps=4) == 0
    assert len([one for one in told if "samples" in str(one.message)]) == 1


def test_the_simple_profiler_prints_its_report(folder, caplog):
    with caplog.at_level("INFO", "lightning.pytorch.profilers.profiler"):
        assert fit("--trainer.profiler", "simple", steps=1) == 0
    from unrolled.apps.run.progress import _worth_reading

    reports = [record for record in caplog.records if "Profiler Report" in record.getMessage()]
    assert len(reports) == 1
    assert _worth_reading(reports[0])


def text_batch() -> tuple[CharLM, TextBatch]:
    torch.manual_seed(0)
    task = CharLM({"vocabulary": {"kind": "characters", "symbols": "abc \n"}})
    ids = torch.tensor([[0, 2, 3, 1, 4, 5, 6, 2]])
    return task, TextBatch(ids, ids, torch.zeros(1, 8, dtype=torch.bool), torch.tensor([8]))


def translation_batch():
    task = make_translation()
    source, lengths = padded([[*task.model.source.encode_batch(["ein hund"])[0], 2]])
    target, others = padded([[*task.model.target.encode_batch(["a dog"])[0], 2]])
    return task, TranslationBatch(source, lengths, target, others, torch.tensor([0]), ("a dog",))


def video_batch():
    target = torch.tensor([[0, 1, -100, 2, 2, 1]])
    ends = torch.tensor([True])
    video = torch.randn(6, SPEC["feature_size"])
    return make_video(), VideoBatch(video, target, torch.tensor([6]), ends, ends, ("v0",))


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    data = make_data(str(tmp_path_factory.mktemp("scenes")))
    return {
        "char_lm": text_batch(),
        "translation": translation_batch(),
        "captioning": (make_captioning(data).eval(), first_batch(data, "val")),
        "video": video_batch(),
    }


@pytest.mark.parametrize("name", ["char_lm", "translation", "captioning", "video"])
def test_every_task_has_a_sample_that_draws_no_random_numbers(examples, name):
    task, batch = examples[name]
    before = random_state()
    with torch.inference_mode():
        sample = task.eval().sample(batch)
        picture = picture_of(task, sample)
    after = random_state()
    assert torch.equal(before["torch"], after["torch"])
    assert before["python"][0] == after["python"][0]
    assert torch.equal(before["python"][1], after["python"][1])
    assert torch.equal(before["numpy"][1], after["numpy"][1])
    wanted = {
        "char_lm": "'ab\\ufffd \\nca' -> ",
        "translation": "'ein hund' -> ",
        "captioning": "(a reference ",
        "video": "of 5 frames right in 'v0'",
    }
    if name == "char_lm":
        assert sample.line.startswith(("'ab", "'\\n"))
        assert picture is None
        return
    assert wanted[name] in sample.line
    assert picture.ndim == 3
    assert picture.std() > 5


def test_the_sample_of_a_task_of_ones_own_is_nothing():
    from unrolled.tasks.base import Task

    assert Task.sample(Samples(), None) is None


def test_nested_settings_are_flat():
    nested = {"a": {"b": [1, 2], "c": None}, "d": [{"e": 1.5}, {"e": "x"}], "f": {}}
    assert flattened(nested) == {
        "a.b": "[1, 2]",
        "a.c": "None",
        "d.0.e": 1.5,
        "d.1.e": "x",
        "f": "{}",
    }


@pytest.mark.parametrize(
    ("able", "precision", "told"),
    [
        (True, "32-true", "--trainer.precision bf16-mixed trains faster"),
        (False, "bf16-mixed", "bf16-mixed is slower than float32 here"),
        (True, "bf16-mixed", None),
        (False, "32-true", None),
    ],
)
def test_what_the_processor_is_good_at(folder, capsys, monkeypatch, able, precision, told):
    monkeypatch.setattr(screens, "multiplies_bf16", lambda: able)
    fit("--trainer.max_steps", "1", "--trainer.precision", precision)
    said = capsys.readouterr().err
    assert told in said if told else "bfloat16" not in said
