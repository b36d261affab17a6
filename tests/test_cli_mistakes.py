"""A mistake on the command line is answered with a line or two, the right name, the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import CPU, TINY, enter, fit
from unrolled.cli import main


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def torchless(tmp_path_factory):
    """A function that runs a command where torch, Lightning and numpy may not be imported."""
    program = """
import contextlib, io, json, sys
from unrolled.cli import main
for line in sys.stdin:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = main(json.loads(line))
    heavy = sorted({"torch", "lightning", "numpy"} & set(sys.modules))
    print(json.dumps([code, output.getvalue(), heavy]), flush=True)
"""
    folder = tmp_path_factory.mktemp("torchless")
    (folder / "text.txt").write_text("the cat")
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
    ) as process:

        def ask(words: list[str]) -> tuple[int, str]:
            process.stdin.write(json.dumps(words) + "\n")
            process.stdin.flush()
            code, output, heavy = json.loads(process.stdout.readline())
            assert heavy == []
            return code, output

        yield ask
        process.stdin.close()


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        ("--model.output_droput 1",
         "--model.output_droput: There is no option 'output_droput'. Did you mean"),
        ("--model.core.hiden_size 1",
         "--model.core.hiden_size: There is no option 'hiden_size'. Did you"),
        ("--data.bach_size 1",
         "--data.bach_size: There is no option 'bach_size'. Did you mean 'batch_size'?"),
        ("--lr 1", "There is no flag '--lr'. Did you mean '--model.optimizer.lr'?"),
        ("--model.lr 1",
         "--model.lr: There is no option 'lr'. Did you mean '--model.optimizer.lr'?"),
        ("--batch-size 1", "There is no flag '--batch-size'. Did you mean '--data.batch_size'?"),
        ("--epochs 1", "There is no flag '--epochs'. Did you mean '--trainer.max_epochs'?"),
        ("--model.nhid 1",
         "--model.nhid: There is no option 'nhid'. Did you mean '--model.core.hidden_size'?"),
        ("--dropout 1", "There is no flag '--dropout'. Did you mean '--model.embedding_dropout'"),
        ("--trainer.max_step 1",
         "There is no flag '--trainer.max_step'. Did you mean '--trainer.max_steps'?"),
        ("--trainer.max_stepz=1",
         "There is no flag '--trainer.max_stepz'. Did you mean '--trainer.max_steps'?"),
        ("--max_steps 1", "There is no flag '--max_steps'. Did you mean '--trainer.max_steps'?"),
        ("--checkpoint.every 1", "There is no flag '--checkpoint.every'."),
        ("--model.core GUR", "--model.core: There is no class 'GUR'. Did you mean 'GRU'?"),
        ("--model CharML", "--model: There is no class 'CharML'. Did you mean 'CharLM'?"),
        ("--model.core Bidirectional", "--model: Missing: core. `"),
        ("--trainer.max_steps=-1 --trainer.max_epochs=-1",
         "WarmupCosine needs the length of the run"),
        ("--data TextDat", "--data: There is no class 'TextDat'. Did you mean 'TextData'?"),
        ("--model.optimizer AdmW",
         "--model.optimizer: There is no class 'AdmW'. Did you mean 'AdamW'?"),
        ("--trainer.callbacks+ RandomStat",
         "There is no class 'RandomStat'. Did you mean 'RandomState'?"),
        ("--model.core unrolled.core.GUR",
         "There is no class 'unrolled.core.GUR'. Did you mean 'GRU'?"),
        ("--model.core.hidden_size 4.5", "--model.core.hidden_size: expected int, got '4.5'."),
        ("--model.optimizer.lr nan", "--model.optimizer.lr: expected float, got 'nan'."),
        ("--early_stopping.patience -1", "--early_stopping.patience is -1; it has to be at least"),
        ("--trainer.max_epochs", "--trainer.max_epochs needs a value."),
        ("--trainer.max_steps x", "--trainer.max_steps: expected int, got 'x'."),
        ("text.txt", "The word 'text.txt' is not expected here: a flag begins with '--'. "
         "Are these your data? --data.path text.txt"),
        ("texd.txt", "The word 'texd.txt' is not expected here: a flag begins with '--'."),
        ("--model.output_dropout 1.5", "LockedDropout: p is 1.5"),
        ("--checkpoint.monitor val/los --trainer.val_check_interval 1",
         "nothing of that name is logged. Did you mean 'val/loss'?"),
        ("--ckpt_path x.ckpt", "`unrolled fit` has no --ckpt_path: --resume PATH goes on"),
        ("--resume --init_from x.ckpt", "give one of the two"),
        ("--name a/b", "--name 'a/b': a run's name is the name of one folder."),
        ("--name", "--name needs a value."),
        ("--data text.txt", "--data: expected the name of a class. Did you mean '--data.path'?"),
        ("--data other.txt", "--data: There is no module 'other'. Did you mean '--data.path'?"),
        ("--model.core text.txt", "--model.core: expected the name of a class, not of a file."),
        ("--model.optimizer Adam --model.optimizer.lr -1",
         "--model.optimizer: Invalid learning rate: -1.0"),
        ("--model.lr_scheduler LinearLR --model.lr_scheduler.start_factor 2",
         "--model.lr_scheduler: Starting multiplicative factor expected to be"),
        ("--trainer.accelerator gpus", "--trainer: You selected an invalid accelerator name"),
        ("--trainer.strategy dpp", "--trainer: You selected an invalid strategy name"),
        ("--trainer.val_check_interval 0",
         "--trainer.val_check_interval is 0; it has to be above 0."),
        ("--trainer.accumulate_grad_batches 0",
         "--trainer.accumulate_grad_batches is 0; it has to be at least 1."),
        ("--trainer.num_nodes 0", "--trainer.num_nodes is 0; it has to be at least 1."),
        ("--seed_everything -1", "--seed_everything: -1 is not in bounds"),
        ("--config non.yaml",
         "There is no configuration file 'non.yaml'. Did you mean 'none.yaml'?"),
        ("--config none.yaml", "'none.yaml', line 2 is not valid YAML"),
        ("--config text.txt", "'text.txt' holds no configuration"),
        ("--config stacked.yaml", "There is no option 'droput'. Did you mean 'dropout'?"),
        ("--config section.yaml", "There is no option 'modle'. Did you mean 'model'?"),
    ],
)  # fmt: skip
def test_wrong_usage_is_answered_in_two_lines_with_the_nearest_name(capsys, flags, answer):
    Path("none.yaml").write_text("model: [\nb: c: d")
    Path("stacked.yaml").write_text(
        "model: {init_args: {core: {class_path: Stacked, init_args: {droput: 1}}}}"
    )
    Path("section.yaml").write_text("modle: {init_args: {embedding_size: 4}}")
    assert main(["fit", "char_lm", *TINY, *CPU, "--trainer.max_steps", "1", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert answer in error
    assert len(error[error.index("unrolled: error") :].strip().splitlines()) <= 2
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("words", "code", "answer"),
    [
        ("", 2, "Usage: unrolled COMMAND"),
        ("fti", 2, "There is no command 'fti'. Did you mean 'fit'?"),
        ("char_lm", 2, "Did you mean 'unrolled fit char_lm'?"),
        ("fit", 2, "What shall be trained? Say `unrolled fit TASK`"),
        ("fit chr_lm", 2, "There is no task 'chr_lm'. Did you mean 'char_lm'?"),
        ("fit char_lm/txt", 2, "The task 'char_lm' has no variant 'txt'. Did you mean 'text'?"),
        ("fit mine.yaml", 2, "There is no configuration file 'mine.yaml'."),
        ("fit char_lm --resume no.ckpt", 3, "There is no checkpoint 'no.ckpt'."),
        ("fit char_lm --init_from no.ckpt", 3, "There is no checkpoint 'no.ckpt'."),
        ("fit char_lm --init_from text.txt", 3, "'text.txt' is not a checkpoint"),
        ("test char_lm --ckpt_path no.ckpt", 3, "There is no checkpoint 'no.ckpt'."),
        ("test char_lm", 2, "`unrolled test` needs a trained model: add --ckpt_path CKPT."),
        ("validate char_lm --model.core GRU --ckpt_path x", 2,
         "takes the model from the checkpoint"),
        ("validate char_lm --resume", 2, "--resume belongs to `unrolled fit`"),
        ("generate", 2, "Missing: checkpoint."),
        ("generate no.ckpt", 3, "There is no checkpoint 'no.ckpt'."),
        ("generate x.ckpt --temprature 1", 2,
         "There is no flag '--temprature'. Did you mean '--temp"),
        ("generate x.ckpt --temp 1", 2, "There is no flag '--temp'."),
        ("generate x.ckpt --length x", 2, "--length: expected int, got 'x'."),
        ("generate x.ckpt --num_samples 0", 2, "--num_samples 0: must be at least 1."),
        ("info no.ckpt", 3, "There is no checkpoint 'no.ckpt'."),
        ("list core", 2, "There is no list 'core'. Did you mean 'cores'?"),
        ("cp char_lm/txt a.yaml", 2, "has no variant 'txt'"),
        ("cp char_lm", 2, "Say what to copy and where to"),
        ("cp char_lm no/a.yaml", 2, "There is no folder 'no'"),
        ("doctor who", 2, "takes no arguments"),
        ("--help", 0, "unrolled generate runs/char_lm"),
        ("--version", 0, "unrolled 0."),
        ("fit --help", 0, "char_lm/text"),
        ("test --help", 0, "--ckpt_path CKPT"),
        ("fit char_lm --help", 0, "--model.core.hidden_size"),
        ("generate --help", 0, "--temperature"),
        ("list", 0, "TextData"),
    ],
)  # fmt: skip
def test_what_needs_no_torch_is_answered_without_importing_it(words, code, answer, torchless):
    given, output = torchless(words.split())
    assert given == code
    assert answer in output
    assert "Traceback" not in output


def test_every_configuration_counts_in_an_evaluation(capsys):
    assert fit(steps=1) == 0
    Path("a.yaml").write_text("data: {init_args: {path: no.txt}}")
    Path("b.yaml").write_text("data: {init_args: {path: text.txt}}")
    evaluate = ["validate", "char_lm", "--ckpt_path", "runs/char_lm", *CPU]
    assert main([*evaluate, "--config", "a.yaml", "--config", "b.yaml"]) == 0
    assert main([*evaluate, "--config", "b.yaml", "--config", "a.yaml"]) == 3
    assert "'no.txt' does not exist" in capsys.readouterr().err


def test_a_text_of_ones_own_has_to_be_named(capsys):
    assert main(["fit", "char_lm/text"]) == 2
    assert "Which text? --data.path FILE" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_class_that_lies_in_this_folder_is_found_as_the_message_says(monkeypatch, capsys):
    Path("own_cores.py").write_text("from unrolled.core import GRU\nclass OwnGRU(GRU): pass\n")
    core = ["--model.core", "own_cores.OwnGRU"]
    assert fit(*core, steps=1) == 2
    assert (
        "There is no module 'own_cores'. 'own_cores' lies in this folder: begin the command with "
        "PYTHONPATH=." in capsys.readouterr().err
    )
    monkeypatch.syspath_prepend(".")
    assert fit(*core, "--model.core.hidden_size", "4", steps=1) == 0


def test_a_callback_with_a_state_is_named_once(capsys):
    twice = ["--trainer.callbacks+", "unrolled.tasks.averaging.EMA"] * 2
    assert fit(*twice, steps=1) == 2
    assert "--trainer.callbacks names EMA twice" in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys):
    assert main(["fit", "chr_lm", "--debug"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "There is no task 'chr_lm'" in error


def test_an_unexpected_error_is_one_line_and_exit_code_1(capsys, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("unrolled.apps.list.render", broken)
    assert main(["list"]) == 1
    assert capsys.readouterr().err == (
        "unrolled: error: RuntimeError: out of luck\nunrolled: --debug shows where it happened\n"
    )
