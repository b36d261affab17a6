"""Every `configs/trainer/NAME.yaml` is found by its name, fits every task, and trains.

There is no GPU here: what needs one runs on CPU processes over gloo.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from tiny_tasks import CASES, Case
from unrolled.apps.run.request import parse
from unrolled.apps.shell import shipped
from unrolled.cli import main

TWO_CPUS = ("--trainer.accelerator", "cpu", "--trainer.devices", "2")
# after trainer/fsdp: what needs a GPU
FSDP_ON_CPUS = """
trainer:
  strategy:
    class_path: fsdp_on_cpus.OnCPUs
    init_args: {sharding_strategy: SHARD_GRAD_OP}
"""


def words(case: Case, name: str, *more: str) -> list[str]:
    few = ("--trainer.limit_val_batches", "2", "--data.batch_size", "2")
    steps = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "6")
    return ["fit", case.variant, "--name", name, *case.flags, *few, *steps, *more]


def weights(folder: Path, case: Case, name: str) -> dict[str, torch.Tensor]:
    path = folder / "runs" / case.task / name / "checkpoints/last.ckpt"
    saved = torch.load(path, weights_only=True)
    assert saved["global_step"] == 6
    return saved["state_dict"]


@pytest.mark.parametrize(
    ("task", "overlay"),
    [
        # of all pairs, in the ordinary run every member of both
        pytest.param(task, overlay, marks=[] if number == 0 or first else pytest.mark.slow)
        for number, task in enumerate(shipped.tasks())
        for first, overlay in zip((True, *[False] * 99), shipped.overlays(), strict=False)
    ],
)
def test_it_is_named_and_overrides_the_task(overlay, task, capsys):
    settings = yaml.safe_load((shipped.CONFIGS / f"{overlay}.yaml").read_text())["trainer"]
    for named in (overlay, f"{overlay}.yaml"):
        for flags in (["--config", named], [f"--config={named}"], ["-c", named]):
            # what the parser reads is a path
            request = parse("fit", [task, *flags])
            assert str(shipped.CONFIGS / f"{overlay}.yaml") in " ".join(request.flags)
            assert request.task == task
    assert main(["fit", task, "--config", overlay, "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)["trainer"]
    for key in settings.keys() - {"callbacks", "strategy"}:
        assert printed[key] == settings[key]


def test_a_file_of_ones_own_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("trainer").mkdir()
    Path("trainer/node.yaml").write_text("trainer: {max_steps: 1}")
    assert shipped.find_config("trainer/node.yaml") == Path("trainer/node.yaml")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("fit trainer/node", "says how to train, not what: unrolled fit TASK --config trainer/nod"),
        ("fit char_lm --config trainer/nod", "Did you mean 'trainer/node'?"),
        ("fit char_lm --config trainer/nod.yaml", "Did you mean 'trainer/node.yaml'?"),
        ("fit --config trainer/node", "What shall be trained?"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(command, answer, capsys):
    assert main(command.split()) == 2
    assert answer in capsys.readouterr().err


def test_sharing_out_keeps_what_every_run_needs():
    """A list of callbacks can only be replaced: it must not lose those of default.yaml."""
    default, fsdp = (
        yaml.safe_load((shipped.TRAINER / f"{name}.yaml").read_text())["trainer"]["callbacks"]
        for name in ("default", "fsdp")
    )
    assert fsdp == default


def test_bfloat16_trains_and_keeps_its_weights_in_float32(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = CASES[0]
    case.write(tmp_path)
    cpu = ("--trainer.accelerator", "cpu")
    assert main(words(case, "plain", *cpu)) == 0
    assert main(words(case, "half", "--config", "trainer/bf16", *cpu)) == 0
    plain, half = (weights(tmp_path, case, name) for name in ("plain", "half"))
    assert {weight.dtype for weight in half.values()} == {torch.float32}
    assert not all(torch.equal(half[name], plain[name]) for name in plain)
    torch.testing.assert_close(half, plain, rtol=0.1, atol=0.02)


@pytest.mark.slow  # two runs of two processes each
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.task)
def test_shared_out_it_learns_what_ddp_learns(case, tmp_path, forks):
    case.write(tmp_path)
    (tmp_path / "cpus.yaml").write_text(FSDP_ON_CPUS)
    shared_out = ("--config", "trainer/fsdp.yaml", "--config", "cpus.yaml", *TWO_CPUS)
    # the same but for the strategy
    same = ("--config", "trainer/fsdp", "--config", "trainer/node", *TWO_CPUS)
    assert forks.run(tmp_path, words(case, "ddp", *same), 2) == 0
    assert forks.run(tmp_path, words(case, "fsdp", *shared_out), 2) == 0
    ddp = weights(tmp_path, case, "ddp")
    torch.testing.assert_close(weights(tmp_path, case, "fsdp"), ddp, rtol=1e-4, atol=1e-5)
