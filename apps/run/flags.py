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

_EVALUATED = """\
The model, its hyper-parameters and its spec come from the checkpoint, the data from the task's
configuration and the --data flags; without a task, from the run that the checkpoint lies in."""


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
    config = read_yaml(find_config(word))
    lines = [f"Usage: {program} {command} {word} [flags]", "", *_run_flags(command)]
    sections = ("data", "model") if command == "fit" else ("data",)
    for section in sections:
        lines += _class_flags(f"--{section}", config.get(section) or {})
    if command == "fit":
        for section, name in (("checkpoint", "Checkpoint"), ("early_stopping", "StopEarly")):
            given = {**read_yaml(TRAINER / "default.yaml")[section], **(config.get(section) or {})}
            lines += ["", f"{name}:", *_flags(f"--{section}", arguments("apps", name), given)]
    trainer = [Argument(name, text, "") for name, text in _TRAINER_FLAGS.items()]
    lines += ["", f"Trainer (all of it: {program} {command} {word} --help all):"]
    lines += _flags("--trainer", trainer, (config.get("trainer") or {}) if command == "fit" else {})
    lines += [
        "",
        "[value]: what holds without the flag, as the configuration or the class says.",
        "A class may be named by its short name, and has flags of its own: --model.core GRU.",
    ]
    return "\n".join(lines)


def _class_flags(flag: str, config: Any, depth: int = 0) -> Iterator[str]:
    """Yield the flags of a class and of the classes that its configuration puts into it."""
    if not isinstance(config, dict) or "class_path" not in config:
        return
    name = str(config["class_path"]).rpartition(".")[2]
    folders = (folder for folder in ("data", "tasks", "core") if name in classes_in(folder))
    found = arguments(next(folders, "core"), name)
    given = config.get("init_args") or {}
    if depth and found and found[0].name == "optimizer":
        found = found[1:]  # a schedule is given its optimizer
    if found:
        yield from ("", f"{name}:")
        yield from _flags(flag, found, given)
    for argument in found:
        yield from _class_flags(f"{flag}.{argument.name}", given.get(argument.name), depth + 1)


def _flags(flag: str, found: list[Argument], given: dict[str, Any]) -> list[str]:
    entries = []
    for argument in found:
        value = shown(given[argument.name]) if argument.name in given else argument.default
        sentence = re.split(r"(?<=[.]) (?=[A-Z])", argument.summary)[0]
        text = f"{sentence} {f'[{value}]' if value else ''}".strip()
        entries.append((f"{flag}.{argument.name}", text))
    return rows(entries, 28)
