"""The help of `unrolled fit`, `validate`, `test` and `predict`, read from the source text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..shell.help import rows
from ..shell.shipped import TRAINER, find_config, list_tasks, list_variants, read_yaml
from ..shell.source import Argument, arguments, classes_in, shown
from .request import COMMANDS, COMMON_FLAGS, EVALUATION_FLAGS, FIT_FLAGS, TEST_FLAGS

_TRAINER_FLAGS = {
    "max_steps": "Stop after this many optimizer steps.",
    "max_epochs": "Stop after this many passes over the training part.",
    "max_time": "Stop after this time, as DD:HH:MM:SS.",
    "accelerator": "cpu, gpu, mps, or auto.",
    "devices": "How many devices, or auto.",
    "num_nodes": "How many machines.",
    "precision": "32-true, bf16-mixed, 16-mixed, 64-true.",
    "gradient_clip_val": "Cut the gradient's norm to this.",
    "accumulate_grad_batches": "Add up the gradients of so many batches for one step.",
    "val_check_interval": "Validate after so many batches, or after this fraction of an epoch.",
    "fast_dev_run": "true: one batch of each part, nothing is written.",
    "default_root_dir": "The folder of all runs, instead of runs/.",
}

# The classes are torch's, whose docstrings are of another form.
_OPTIMIZER_FLAGS = {
    "lr": "The learning rate, at its highest where there is a schedule.",
    "weight_decay": "How much each step shrinks the weights.",
    "betas": "How long Adam's two means remember.",
    "momentum": "How much of the step before goes into an SGD step.",
}

# What people change, as far as a task has it.
_CHANGED_MOST = """
    --data.path --data.root --data.source --data.target --data.batch_size --data.chunk_length
    --model.core --model.core.hidden_size --model.encoder --model.decoder
    --model.decoder.hidden_size --model.output_dropout --model.dropout
    --model.optimizer.lr --model.lr_scheduler --trainer.max_steps --trainer.max_epochs
    --trainer.accelerator --trainer.devices --trainer.precision
"""

_Flag = tuple[str, str, str]
"""A flag, what it does, and its value."""

_EVALUATED = """\
The model, its hyper-parameters and its spec come from the checkpoint, the data
from the task's configuration and the --data flags; without a task, from the run
that the checkpoint lies in."""


def command_help(command: str, program: str = "unrolled") -> str:
    """Return what `unrolled fit --help` prints, or another of these commands.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        program: The command's own name.
    """
    fit = command == "fit"
    usage = f"{program} {command} TASK[/VARIANT] [flags]" + ("" if fit else " --ckpt_path CKPT")
    lines = [f"Usage: {usage}", "", f"{COMMANDS[command].capitalize()}.", ""]
    if not fit:
        lines += [_EVALUATED, ""]
    entries = list_variants() if fit else list_tasks()
    column = max((len(entry.name) for entry in entries), default=0) + 2
    lines += [
        "Variants:" if fit else "Tasks:",
        *rows(entries, column),
        "  a path to a YAML file works too",
        "",
    ]
    lines += _run_flags(command)
    lines += ["", f"{program} {command} TASK --help lists the flags of its data and its model."]
    return "\n".join(lines)


def _run_flags(command: str) -> list[str]:
    own = FIT_FLAGS if command == "fit" else EVALUATION_FLAGS
    flags = {**own, **(TEST_FLAGS if command == "test" else {}), **COMMON_FLAGS}
    return ["Flags:", *rows(flags.items(), 20)]


def task_help(command: str, word: str, program: str = "unrolled") -> str:
    """Return what `unrolled fit TASK --help` prints: the flags of its data, model and core.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        word: The task, its variant, or a path.
        program: The command's own name.
    """
    sections = [*_sections(command, word)]
    lines = [f"Usage: {program} {command} {word} [flags]", "", *_run_flags(command)]
    if command == "fit":
        values = {flag: value or text for _, flags in sections for flag, text, value in flags}
        most = [(flag, values[flag]) for flag in _CHANGED_MOST.split() if flag in values]
        lines += ["", "Changed most, with what holds without them:", *rows(most, 28)]
    for heading, flags in sections:
        lines += ["", f"{heading}:"]
        lines += rows(
            (
                (flag, f"{text} {f'[{value}]' if value else ''}".strip())
                for flag, text, value in flags
            ),
            28,
        )
    lines += [
        "",
        f"All of the trainer's flags: {program} {command} {word} --help all",
        "[value]: what holds without the flag, as the configuration or the class says.",
        "A class may be named by its short name, and has flags of its own:",
        "--model.core GRU --model.core.hidden_size 128.",
    ]
    return "\n".join(lines)


def task_flags(word: str) -> list[str]:
    """Return the flags that the help of a task names.

    Args:
        word: The task, its variant, or a path.
    """
    return [flag for _, flags in _sections("fit", word) for flag, _, _ in flags]


def _sections(command: str, word: str) -> Iterator[tuple[str, list[_Flag]]]:
    """Yield the parts of a task's help: a heading and its flags."""
    config = read_yaml(find_config(word))
    fit = command == "fit"
    for section in ("data", "model") if fit else ("data",):
        yield from _class_flags(f"--{section}", config.get(section) or {})
    if fit:
        for section, name in (("checkpoint", "Checkpoint"), ("early_stopping", "StopEarly")):
            given = {**read_yaml(TRAINER / "default.yaml")[section], **(config.get(section) or {})}
            yield name, _flags(f"--{section}", arguments("apps", name), given)
    trainer = [Argument(name, text, "") for name, text in _TRAINER_FLAGS.items()]
    yield "Trainer", _flags("--trainer", trainer, (config.get("trainer") or {}) if fit else {})


def _class_flags(flag: str, config: Any, depth: int = 0) -> Iterator[tuple[str, list[_Flag]]]:
    """Yield the flags of a class and of the classes that its configuration puts into it."""
    if not isinstance(config, dict) or "class_path" not in config:
        return
    path, _, name = str(config["class_path"]).rpartition(".")
    given = config.get("init_args") or {}
    if path == "torch.optim":
        found = [Argument(key, text, "") for key, text in _OPTIMIZER_FLAGS.items() if key in given]
    else:
        folders = (folder for folder in ("data", "tasks", "core") if name in classes_in(folder))
        found = arguments(next(folders, "core"), name)
    if depth and found and found[0].name == "optimizer":
        found = found[1:]  # a schedule is given its optimizer
    if found:
        yield name, _flags(flag, found, given)
    for argument in found:
        yield from _class_flags(f"{flag}.{argument.name}", given.get(argument.name), depth + 1)


def _flags(flag: str, found: list[Argument], given: dict[str, Any]) -> list[_Flag]:
    return [
        (
            f"{flag}.{argument.name}",
            re.split(r"(?<=[.]) (?=[A-Z])", argument.summary)[0],
            shown(given[argument.name]) if argument.name in given else argument.default,
        )
        for argument in found
    ]
