"""The command line as a user meets it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny_runs import CPU, TINY, enter, fit
from unrolled.cli import main


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)


def test_fit_then_use_the_model(capsys):
    assert fit() == 0
    output = capsys.readouterr()
    last = Path("runs/char_lm/1/checkpoints/last.ckpt")
    assert output.out.splitlines() == [
        f"Trained to step 2: {last}",
        f"Next: unrolled generate {last.parent.parent} --prompt ...",
    ]
    assert "CharLM with LSTM" in output.err
    assert "in runs/char_lm/1" in output.err
    assert "litlogger" not in output.err
    assert sorted(path.name.partition(".")[0] for path in Path("runs/char_lm/1").iterdir()) == [
        "checkpoints",
        "config",
        "events",
        "hparams",
    ]

    assert main(["generate", str(last), "--prompt", "the ", "--length", "20", "--seed", "1"]) == 0
    once = capsys.readouterr().out
    assert once.startswith("the ")
    assert (
        main(["generate", "runs/char_lm", "--prompt", "the ", "--length", "20", "--seed", "1"]) == 0
    )
    assert capsys.readouterr().out == once

    for command in ("validate", "test"):
        assert main([command, "char_lm", *TINY, *CPU, "--ckpt_path", str(last)]) == 0
        names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
        part = {"validate": "val", "test": "test"}[command]
        assert names == [f"{part}/bits_per_character", f"{part}/loss"]

    assert main(["info", str(last)]) == 0
    told = capsys.readouterr().out
    assert "CharLM (unrolled" in told
    assert "LSTM(hidden_size=8" in told
    assert "2 steps" in told


def test_runs_are_numbered_or_named(capsys):
    assert fit() == fit() == fit("--name", "mine") == 0
    assert sorted(path.name for path in Path("runs/char_lm").iterdir()) == ["1", "2", "mine"]
    assert fit("--name", "mine") == 2
    assert (
        "The run 'runs/char_lm/mine' exists already.\nChoose another --name"
        in capsys.readouterr().err
    )


def test_another_folder_for_all_runs():
    assert fit("--trainer.default_root_dir", "elsewhere") == 0
    assert Path("elsewhere/char_lm/1/checkpoints/last.ckpt").is_file()
    assert not Path("runs").exists()


def test_a_trial_writes_nothing():
    assert fit("--trainer.fast_dev_run", "true") == 0
    assert not Path("runs").exists()


def test_the_configuration_of_a_run_is_saved_and_can_be_used_again():
    assert fit("--name", "a", "--model.embedding_size", "5") == 0
    saved = Path("runs/char_lm/a/config.yaml")
    assert saved.read_text().startswith("# unrolled==")
    content = yaml.safe_load(saved.read_text())
    assert content["model"]["init_args"]["embedding_size"] == 5
    assert content["trainer"]["max_steps"] == 2
    assert main(["fit", str(saved), "--name", "b"]) == 0
    again = yaml.safe_load(Path("runs/char_lm/b/config.yaml").read_text())
    assert again == content


def test_a_core_is_named_by_its_class_alone(capsys):
    assert fit("--model.core", "GRU", "--model.core.hidden_size", "7") == 0
    assert main(["info", "runs/char_lm"]) == 0
    assert "GRU(hidden_size=7" in capsys.readouterr().out


def test_a_yaml_of_ones_own_and_a_configuration_over_it(capsys):
    assert main(["cp", "char_lm/text", "mine.yaml"]) == 0
    Path("over.yaml").write_text(
        "trainer: {max_steps: 1}\nmodel: {init_args: {embedding_size: 3}}\n"
    )
    assert (
        main(
            [
                "fit",
                "mine.yaml",
                *TINY,
                *CPU,
                "--model.core.hidden_size",
                "8",
                "--config",
                "over.yaml",
            ]
        )
        == 0
    )
    assert torch.load("runs/char_lm/1/checkpoints/last.ckpt", weights_only=True)["global_step"] == 1
    assert main(["cp", "char_lm/text", "mine.yaml"]) == 2
    assert "'mine.yaml' exists already" in capsys.readouterr().err


def test_resume_goes_on_with_the_newest_run_of_the_same_configuration(capsys):
    assert fit("--name", "a") == fit("--name", "b", task="char_lm/text") == 0
    assert fit("--resume", steps=3) == 0
    assert "going on from runs/char_lm/a/checkpoints/last.ckpt, step 2" in capsys.readouterr().err
    assert torch.load("runs/char_lm/a/checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
    assert (
        torch.load("runs/char_lm/a/checkpoints/previous.ckpt", weights_only=True)["global_step"]
        == 2
    )
    assert fit("--resume", "--name", "b") == 2
    assert (
        "'runs/char_lm/b' was begun with 'char_lm/text', not with 'char_lm/default'"
        in capsys.readouterr().err
    )
    assert main(["fit", "--resume", "runs/char_lm/b", "--trainer.max_steps", "3"]) == 0


def test_resume_of_a_run_that_is_done_says_so(capsys):
    assert fit() == fit("--resume") == 0
    assert (
        "had reached its end at step 2: give a larger --trainer.max_steps"
        in capsys.readouterr().err
    )


def test_resume_adds_to_the_table_of_metrics():
    validate = ["--trainer.val_check_interval", "1"]
    assert fit(*validate) == 0
    before = Path("runs/char_lm/1/metrics.csv").read_text()
    assert fit("--resume", *validate, steps=3) == 0
    after = Path("runs/char_lm/1/metrics.csv").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == len(before.splitlines()) + 1


def test_resume_falls_back_to_the_checkpoint_before(capsys):
    assert fit("--checkpoint.every_n_train_steps", "1") == 0
    last = Path("runs/char_lm/1/checkpoints/last.ckpt")
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.warns(
        UserWarning, match=r"last\.ckpt' is truncated: going back to '.*previous\.ckpt'"
    ):
        assert fit("--resume") == 0
    assert "previous.ckpt, step 1" in capsys.readouterr().err
    # What is damaged takes no good file's place, or a kill in the next save would cost the run.
    for name, step in (("last", 2), ("previous", 1)):
        assert torch.load(last.with_name(f"{name}.ckpt"), weights_only=True)["global_step"] == step


def test_a_resume_that_is_refused_leaves_the_run_as_it_was(capsys):
    assert fit("--trainer.max_epochs", "2", steps=-1) == 0
    config = Path("runs/char_lm/1/config.yaml")
    before = config.read_text()
    assert fit("--resume", "--trainer.max_epochs", "0", steps=-1) == 2
    assert "max_epochs" in capsys.readouterr().err
    assert config.read_text() == before
    assert fit("--resume", "--trainer.max_epochs", "3", steps=-1) == 0
    assert config.read_text() != before


def test_resume_by_name_begins_a_run_that_is_not_there_yet(capsys):
    assert fit("--name", "a", "--resume", "--model.core.hidden_size", "8") == 0
    assert "there is no checkpoint to resume yet" in capsys.readouterr().err
    assert fit("--name", "a", "--resume", steps=3) == 0
    assert "going on from" in capsys.readouterr().err


def test_a_run_that_was_killed_before_it_saved_begins_again_as_what_it_was(capsys):
    assert fit("--name", "a", "--model.core.hidden_size", "8", "--model.embedding_size", "5") == 0
    config = Path("runs/char_lm/a/config.yaml").read_text()
    shutil.rmtree("runs/char_lm/a/checkpoints")
    assert main(["fit", "char_lm", "--name", "a", "--resume"]) == 0
    assert "there is no checkpoint to resume yet" in capsys.readouterr().err
    assert Path("runs/char_lm/a/config.yaml").read_text() == config
    shutil.rmtree("runs/char_lm/a/checkpoints")
    assert fit("--name", "a", "--resume", task="char_lm/text") == 2
    assert "was begun with 'char_lm/default'" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["limit_train_batches", "max_steps", "max_epochs"])
def test_a_run_without_a_step_says_so(limit, capsys):
    assert fit(f"--trainer.{limit}", "0", "--trainer.limit_val_batches", "0") == 0
    told = f"no step was trained, and nothing is saved: --trainer.{limit} is 0"
    assert told in capsys.readouterr().err


def test_resume_without_a_run(capsys):
    assert fit("--resume") == 2
    assert (
        "There is no run of 'char_lm/default' with a checkpoint in 'runs/char_lm'"
        in capsys.readouterr().err
    )


def test_another_model_is_refused_on_resume_with_both_values(capsys):
    assert fit() == 0
    assert fit("--resume", "--model.core.hidden_size", "9") == 2
    assert "model.core.hidden_size is 8 there and 9 here" in capsys.readouterr().err
    assert fit("--resume", "--model.core", "GRU") == 2
    assert "model.core is LSTM there and GRU here" in capsys.readouterr().err


def test_another_text_is_refused_on_resume_with_both_values(capsys):
    assert fit() == 0
    Path("other.txt").write_text("some other words, quite zany. " * 30)
    assert fit("--resume", "--data.path", "other.txt") == 2
    error = capsys.readouterr().err
    assert (
        "was trained on other data: spec.vocabulary.symbols is ' .acehmnost' there and "
        "' ,.adehimnoqrstuwyz' here" in error
    )


def test_init_from_takes_the_weights_that_fit_and_lists_the_others(capsys):
    assert fit("--name", "a") == 0
    assert (
        fit(
            "--init_from", "runs/char_lm/a", "--model.core", "LSTM", "--model.core.hidden_size", "9"
        )
        == 0
    )
    error = capsys.readouterr().err
    assert (
        "took 2 of 7 tensors from runs/char_lm/a/checkpoints/last.ckpt; not taken: "
        "model.core.weight_ih (32x64 there" in error
    )
    assert fit("--init_from", "runs/char_lm/a", steps=0) == 0
    taken = "took 7 of 7 tensors from runs/char_lm/a/checkpoints/last.ckpt"
    assert f"{taken}; characters: all 11 matched" in capsys.readouterr().err
    Path("text.txt").write_text("that mate sat on the màt. " * 40)
    assert fit("--init_from", "runs/char_lm/a", steps=0) == 0
    told = "characters: 10 matched, 1 new ('à'), 1 left out ('c')"
    assert f"{taken}; {told}" in capsys.readouterr().err


def test_evaluation_takes_model_and_vocabulary_from_the_checkpoint(capsys):
    assert fit("--model.core", "GRU", "--model.core.hidden_size", "7") == 0
    Path("other.txt").write_text("the mat " * 60)  # its own vocabulary would be smaller
    other = ["--data.path", "other.txt", "--ckpt_path", "runs/char_lm/1"]
    assert main(["test", "char_lm", *TINY, *CPU, *other]) == 0
    assert main(["test", *CPU, *other]) == 0  # without a task: the data of the run's configuration
    capsys.readouterr()
    Path("other.txt").write_text("the màt " * 60)
    assert main(["validate", "char_lm", *TINY, *CPU, *other]) == 3
    error = capsys.readouterr().err
    assert "'à'" in error
    assert "--data.unknown replace" in error


def test_hyper_parameters_of_a_checkpoint_do_not_override_the_command_line(capsys):
    """Lightning's own --ckpt_path merges them over flags, without a word."""
    assert fit("--name", "a") == 0
    assert fit("--name", "b", "--init_from", "runs/char_lm/a", "--model.embedding_size", "5") == 0
    assert (
        torch.load("runs/char_lm/b/checkpoints/last.ckpt", weights_only=True)["hyper_parameters"][
            "embedding_size"
        ]
        == 5
    )


def test_early_stopping_from_the_shell():
    flags = [
        *("--trainer.val_check_interval", "1", "--early_stopping.min_delta", "100"),
        *("--early_stopping.patience", "2"),
    ]
    assert fit(*flags, steps=50) == 0
    assert torch.load("runs/char_lm/1/checkpoints/last.ckpt", weights_only=True)["global_step"] == 3


def test_several_samples_and_a_prompt_from_standard_input(capsys, monkeypatch):
    import io

    assert fit() == 0
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the ")))
    assert (
        main(["generate", "runs/char_lm", "--prompt", "-", "--length", "3", "--num_samples", "2"])
        == 0
    )
    output = capsys.readouterr().out
    assert output.startswith("--- 1 ---\nthe ")
    assert "\n--- 2 ---\nthe " in output


def test_a_prompt_with_a_character_that_the_model_never_saw(capsys):
    assert fit() == 0
    assert main(["generate", "runs/char_lm", "--prompt", "thé"]) == 3
    assert "'é'" in capsys.readouterr().err
    assert (
        main(["generate", "runs/char_lm", "--prompt", "thé", "--unknown", "skip", "--length", "3"])
        == 0
    )
    assert capsys.readouterr().out.startswith("thé")


def test_a_run_that_stops_by_an_error_keeps_its_exit_code(capsys):
    assert fit("--model.optimizer", "SGD", "--model.optimizer.lr", "1e30", steps=20) == 1
    assert "the loss is not finite at step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("signal_number", "code"),
    [
        (signal.SIGTERM, 143),
        # apps/run/test_preemption.py has them, of a terminal
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_signals(forks, tmp_path, signal_number, code):
    command = ["fit", "char_lm", *TINY, *CPU, "--model.core.hidden_size", "8"]
    flags = [
        *("--trainer.max_steps", "1000000", "--checkpoint.every_n_train_steps", "1"),
        *("--trainer.limit_val_batches", "0"),
    ]
    with forks.start(tmp_path, [*command, *flags]) as run:
        assert run.wait_for(Path("runs/char_lm/1/checkpoints/last.ckpt").exists)
        os.kill(run.pid, signal_number)
        assert run.wait() == code, run.err
        assert "saved" in run.err
        assert "--resume" in run.err
        assert "Traceback" not in run.err


def test_a_reader_that_has_had_enough_is_no_error(forks, tmp_path):
    assert fit() == 0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = ["generate", "runs/char_lm", "--length", "100000"]
    with forks.start(tmp_path, command, out=pipe) as run:
        with pipe.open() as reader:
            reader.read(10)
        assert run.wait() == 0
        said, *more = run.err.splitlines()
        assert said == "using runs/char_lm/1/checkpoints/last.ckpt"
        assert all("Load only checkpoints" in line for line in more)  # of a torch before 2.10


def test_print_config_shows_what_results(capsys):
    assert main(["fit", "char_lm", "--model.embedding_size", "5", "--print_config"]) == 0
    content = yaml.safe_load(capsys.readouterr().out)
    assert content["model"]["init_args"]["embedding_size"] == 5
    assert not Path("runs").exists()


def test_a_default_that_is_an_enumeration_is_written_by_its_value(capsys):
    words = ["--trainer.callbacks+", "Timer", "--trainer.callbacks.duration", "00:00:00:09"]
    assert main(["fit", "char_lm", *words, "--print_config"]) == 0
    timer = yaml.safe_load(capsys.readouterr().out)["trainer"]["callbacks"][-1]
    assert timer["init_args"]["interval"] == "step"
