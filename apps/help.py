"""Help that is short, and quick: signatures and docstrings are read from the source text, nothing is imported."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .listing import classes_in, list_tasks, list_variants
from .run.shipped import TRAINER, find_config, read_yaml

COMMANDS = {
    "fit": "train a model",
    "validate": "score a checkpoint on the validation part",
    "test": "score a checkpoint on the test part",
    "predict": "run a checkpoint on the predict_dataloader of a data module of your own",
    "generate": "let a language model write",
    "translate": "translate a file, or standard input",
    "caption": "say what images show",
    "label": "label every frame of videos",
    "average": "average the weights of checkpoints",
    "info": "say what a checkpoint holds",
    "list": "list tasks, variants, cores and datasets",
    "cp": "copy a shipped configuration to a file of your own",
    "doctor": "check the installation, and name the command that mends it",
}

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


# What the program itself gives to a class: a size, the parameters, what the data say.
_GIVEN = ("spec", "input_size", "query_size", "memory_size", "params")


class Argument(NamedTuple):
    """An argument of a class: its name, what its docstring says, and its default as text."""

    name: str
    summary: str
    default: str


def main_help(program: str = "unrolled") -> str:
    """Return what `unrolled --help` prints.

    Args:
        program: The command's own name.
    """
    commands = [
        name
        for name in COMMANDS
        if program == "unrolled" or name in ("fit", "validate", "test", "predict")
    ]
    lines = [
        f"Usage: {program} COMMAND ...",
        "",
        "Recurrent networks for text, translation, captions and video, trained with PyTorch Lightning.",
        "",
        *(f"  {name:<10}{COMMANDS[name]}" for name in commands),
        "",
        "Start with:",
        "  unrolled fit char_lm            then  unrolled generate runs/char_lm",
        "  unrolled fit translation        then  unrolled translate runs/translation corpus.de",
        "  unrolled fit captioning         then  unrolled caption runs/captioning photo.jpg",
        "  unrolled fit video              then  unrolled label runs/video clip.mp4",
        "  unrolled list                   tasks, variants, cores, data sets",
        "",
        f"{program} COMMAND --help says more. --debug, with any command, shows the traceback of an error.",
    ]
    return "\n".join(lines)


def command_help(command: str, program: str = "unrolled") -> str:
    """Return what `unrolled fit --help` prints, or another command of Lightning's.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        program: The command's own name.
    """
    fit = command == "fit"
    usage = f"{program} {command} TASK[/VARIANT] [flags]" + ("" if fit else " --ckpt_path CKPT")
    lines = [f"Usage: {usage}", "", f"{COMMANDS[command].capitalize()}.", ""]
    if not fit:
        lines += [
            "The model, its hyper-parameters and its spec come from the checkpoint, the data from the task's",
            "configuration and the --data flags; without a task, from the run that the checkpoint lies in.",
            "",
        ]
    entries = list_variants() if fit else list_tasks()
    column = max((len(entry.name) for entry in entries), default=0) + 2
    lines += [
        "Variants:" if fit else "Tasks:",
        *_rows(entries, column),
        "  a path to a YAML file works too",
        "",
    ]
    lines += _run_flags(command)
    lines += ["", f"{program} {command} TASK --help lists the flags of its data and its model."]
    return "\n".join(lines)


def _run_flags(command: str) -> list[str]:
    if command == "fit":
        flags = {
            "--name NAME": "Write to runs/TASK/NAME; without it the runs are numbered.",
            "--resume [PATH]": "Go on with the newest run of this kind, the run --name, or a checkpoint.",
            "--init_from CKPT": "Begin with the weights of a checkpoint that fit, and list the others.",
        }
    else:
        flags = {"--ckpt_path CKPT": "The checkpoint, or the folder of a run."}
    flags |= {
        "--config FILE": "Another YAML file, over the ones before; may be repeated.",
        "--print_config": "Print the configuration that results, and stop.",
        "--trust PACKAGE": "A package of your own whose classes a checkpoint may name.",
    }
    return ["Flags:", *_rows(flags.items(), 20)]


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


def arguments(folder: str, name: str) -> list[Argument]:
    """Return the arguments of a class of the package that a configuration can set.

    Args:
        folder: `core`, `data`, `tasks` or `apps`.
        name: The class.
    """
    found = classes_in(folder)
    texts: dict[str, str] = {}
    while name in found:
        node = found[name].node
        texts = _documented(ast.get_docstring(node) or "") | texts
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                return [
                    argument for argument in _signature(item, texts) if argument.name not in _GIVEN
                ]
        name = next(iter(found[name].bases), "")
    return []


def _signature(init: ast.FunctionDef, texts: dict[str, str]) -> Iterator[Argument]:
    positional = init.args.args[1:]
    missing = [None] * (len(positional) - len(init.args.defaults))
    pairs = [
        *zip(positional, [*missing, *init.args.defaults], strict=True),
        *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True),
    ]
    for argument, default in pairs:
        yield Argument(argument.arg, texts.get(argument.arg, ""), _default(default))


def _default(node: ast.expr | None) -> str:
    if node is None:
        return ""
    if isinstance(node, ast.Constant):
        return _shown(node.value)
    body = node.body if isinstance(node, ast.Lambda) else node
    return ast.unparse(body.func if isinstance(body, ast.Call) else body).removeprefix(
        "torch.optim."
    )


def _documented(docstring: str) -> dict[str, str]:
    """Return the texts of a Google docstring's `Args`."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    found = (
        re.findall(r"^    \*?(\w+): (.*(?:\n        .*)*)", section[1], re.MULTILINE)
        if section
        else []
    )
    return {name: " ".join(text.split()) for name, text in found}


def function_help(command: str, function: Callable[..., None]) -> str:
    """Return what `unrolled generate --help` prints, or another command that is a function.

    Args:
        command: The name of the command.
        function: Its function, with a Google docstring.
    """
    docstring = inspect.getdoc(function) or ""
    texts = _documented(docstring)
    words, rows = [], []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            several = parameter.kind is parameter.VAR_POSITIONAL
            shown = name.upper() if not several else f"{name.upper().removesuffix('S')}..."
            words.append(shown if parameter.default is parameter.empty else f"[{shown}]")
            rows.append((shown, texts[name]))
        else:
            default = "" if parameter.default == "" else f" [{_shown(parameter.default)}]"
            rows.append((f"--{name}", f"{texts[name]}{default}"))
    usage = f"Usage: unrolled {command} {' '.join(words)} [flags]"
    width = max(18, *(len(name) + 2 for name, _ in rows))
    return "\n".join([usage, "", docstring.partition("\n")[0], "", *_rows(rows, width)])


def _class_flags(flag: str, config: Any, depth: int = 0) -> Iterator[str]:
    """Yield the flags of a class and of the classes that its configuration puts into it."""
    if not isinstance(config, dict) or "class_path" not in config:
        return
    name = str(config["class_path"]).rpartition(".")[2]
    folder = next(
        (folder for folder in ("data", "tasks", "core") if name in classes_in(folder)), None
    )
    if folder is None:
        return
    given = config.get("init_args") or {}
    found = arguments(folder, name)
    if depth and found and found[0].name == "optimizer":
        found = found[1:]  # a schedule is given its optimizer
    if found:
        yield from ("", f"{name}:")
        yield from _flags(flag, found, given)
    for argument in found:
        yield from _class_flags(f"{flag}.{argument.name}", given.get(argument.name), depth + 1)


def _flags(flag: str, found: list[Argument], given: dict[str, Any]) -> list[str]:
    rows = []
    for argument in found:
        value = _shown(given[argument.name]) if argument.name in given else argument.default
        sentence = re.split(r"(?<=[.]) (?=[A-Z])", argument.summary)[0]
        rows.append(
            (f"{flag}.{argument.name}", f"{sentence} {f'[{value}]' if value else ''}".strip())
        )
    return _rows(rows, 28)


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "class_path" in value:
        return str(value["class_path"]).rpartition(".")[2]
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "" if isinstance(value, list | dict) else str(value)


def _rows(rows: Any, column: int, width: int = 100) -> list[str]:
    """Return names and texts in two columns, each text on as many lines as it needs."""
    lines = []
    for name, text in rows:
        wrapped = textwrap.wrap(text, width - column - 2) or [""]
        if len(name) + 2 > column:
            lines.append(f"  {name}")
        else:
            lines.append(f"  {name:<{column}}{wrapped.pop(0)}".rstrip())
        lines += [f"  {'':<{column}}{line}" for line in wrapped]
    return lines
