"""A checkpoint or a command that describes a network larger than memory gets a line, at once."""

from __future__ import annotations

import pytest
import torch
from tiny_runs import RUNS, enter, fit
from unrolled.cli import main

LAST = RUNS / "1" / "checkpoints" / "last.ckpt"


@pytest.fixture
def here(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model.core.hidden_size", "1000000000"], "GB is this machine's memory"),
        (["--model.core.hidden_size", "10000000"], "GB is this machine's memory"),
        (["--model.embedding_size", "1000000000000"], "GB is this machine's memory"),
        (["--model.core.hidden_size", str(10**15)], "GB is this machine's memory"),
        (
            [
                *("--model.core", "Stacked", "--model.core.core", "GRU"),
                *("--model.core.core.hidden_size", "8", "--model.core.num_layers", "1000000000"),
            ],
            "num_layers is 1000000000; a stack has at most 1000",
        ),
    ],
)
def test_absurd_sizes_on_the_command_line_are_a_mistake_of_its_user(here, capsys, flags, said):
    assert fit("--model.core", "LSTM", *flags) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert said in error[-1]
    assert error[-1].startswith("unrolled: error: ")


def plant(content, size):
    parameters = content["hyper_parameters"]
    if size == "layers":
        parameters["core"] = {
            "class_path": "unrolled.core.Stacked",
            "init_args": {
                "core": {"class_path": "unrolled.core.GRU", "init_args": {"hidden_size": 8}},
                "num_layers": 10**9,
            },
        }
    elif size == "stride":
        name = next(iter(content["state_dict"]))
        content["state_dict"][name] = torch.zeros(1).expand(10**6, 10**6)
    else:
        parameters[size] = 10**9


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("layers", "num_layers is 1000000000; a stack has at most 1000"),
        ("embedding_size", "is the most for a file with 0.0 GB of weights"),
        ("stride", "claims 4,000,000,000,000 bytes, and has 4"),
    ],
)
def test_a_checkpoint_that_describes_more_than_it_holds_is_refused(here, capsys, size, said):
    assert fit() == 0
    content = torch.load(LAST, weights_only=True)
    plant(content, size)
    torch.save(content, LAST)
    commands = [
        ["generate", str(LAST)],
        ["test", "char_lm", "--ckpt_path", str(LAST), "--data.path", "text.txt"],
    ]
    for command in commands:
        capsys.readouterr()
        assert main(command) == 3, command
        error = capsys.readouterr().err.strip().splitlines()
        assert said in " ".join(error[-2:]), command
