"""What a command of the trainer asks for, found out before anything heavy is imported."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import yaml

from ...checkpoints import WholeFile, checkpoints_of, find_checkpoint, newest_whole
from ...errors import UsageError
from ..shell.models import checkpoint_file
from ..shell.shipped import (
    TRAINER,
    find_config,
    is_overlay,
    is_path,
    read_yaml,
    task_of,
    tasks,
)
from .folder import folders

COMMANDS = {
    "fit": "train a model",
    "validate": "score a checkpoint on the validation part",
    "test": "score a checkpoint on the test part",
    "predict": "run a checkpoint on the predict_dataloader of a data module of your own",
}
# The flags that are not the configuration's, with what each does.
FIT_FLAGS = {
    "--name NAME": "Write to runs/TASK/NAME; without it the runs are numbered.",
    "--resume [PATH]": "Go on with the newest run of this kind, the run --name, or a checkpoint.",
    "--init_from CKPT": "Begin with the weights of a checkpoint that fit, and list the others.",
}
EVALUATION_FLAGS = {"--ckpt_path CKPT": "The checkpoint, or the folder of a run."}
TEST_FLAGS = {
    "--results PATH": "The folder for every sentence, caption, frame; false: none. "
    "[RUN/results/CHECKPOINT]",
}
COMMON_FLAGS = {
    "--config FILE": "Another YAML file, or trainer/NAME, over the ones before; may be repeated.",
    "--print_config": "Print the configuration that results, and stop.",
    "--trust PACKAGE": "A package of your own whose classes a checkpoint may name.",
}
_OWN: dict[str, dict[str, Any]] = {
    **{flag.partition(" ")[0]: {} for flag in (*FIT_FLAGS, *EVALUATION_FLAGS, *TEST_FLAGS)},
    "--resume": {"nargs": "?", "const": ""},
    "--trust": {},
    "--trainer.default_root_dir": {},
}
_CONFIG: dict[str, Any] = {"dest": "configs", "action": "append", "default": []}


@dataclasses.dataclass(frozen=True)
class Request:
    """A command, resolved to files that exist.

    Attributes:
        command: `fit`, `validate`, `test` or `predict`.
        task: The folder of its runs.
        word: What names the configuration: `TASK/VARIANT` or a path.
        configs: Configurations in the order in which they override each other: paths, or YAML text.
        flags: What is left for the parser.
        root: The folder of all runs.
        name: The name of a new run, None to number it.
        run: The folder of the run that is resumed, or begun again because it has no checkpoint yet.
        checkpoint: The checkpoint that is resumed or evaluated.
        init_from: The checkpoint that a new run takes its weights from.
        trust: Packages whose classes a checkpoint may name.
        results: The folder for what a test leaves; None: beside the checkpoint; empty: nowhere.
        foreign: Whether the configuration is the one that lay beside the checkpoint: it may be
            anybody's.
    """

    command: str
    task: str
    word: str
    configs: list[str]
    flags: list[str]
    root: Path
    name: str | None = None
    run: Path | None = None
    checkpoint: WholeFile | None = None
    init_from: WholeFile | None = None
    trust: list[str] = dataclasses.field(default_factory=list)
    results: str | None = None
    foreign: bool = False


def parse(command: str, words: list[str]) -> Request:
    """Return what a command line asks for.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        words: What follows it.

    Raises:
        UsageError: A task, a variant or a configuration does not exist, or flags contradict each
            other.
        DataError: A checkpoint does not exist or is not whole.
    """
    word = words[0] if words and not words[0].startswith("-") else None
    given, flags = _taken(words[1:] if word is not None else words, _OWN)
    found, others = _taken(flags, {"--config": _CONFIG, "-c": _CONFIG}, ": the path of a YAML file")
    configs = found["configs"]
    for path in configs:
        read_yaml(find_config(path))
    if word is not None and is_overlay(word):
        raise UsageError(
            f"'{word}' says how to train, not what: unrolled {command} TASK --config {word}"
        )
    trust = [package for package in (given["trust"] or "").split(",") if package]
    if command == "fit" and given["ckpt_path"] is not None:
        raise UsageError(
            "`unrolled fit` has no --ckpt_path: --resume PATH goes on with a run where it "
            "stopped,\n--init_from PATH begins a new run with a checkpoint's weights."
        )
    if given["results"] is not None and command != "test":
        raise UsageError(f"--results belongs to `unrolled test`, not to `unrolled {command}`.")
    if command == "fit":
        # The configurations stay among the flags: the order of both says what overrides what.
        return _training(word, _with_paths(flags), configs, given, trust)
    for name in ("name", "resume", "init_from"):
        if given[name] is not None:
            raise UsageError(f"--{name} belongs to `unrolled fit`, not to `unrolled {command}`.")
    request = _evaluation(command, word, others, configs, given["ckpt_path"], trust)
    results = "" if given["results"] in ("false", "null") else given["results"]
    return dataclasses.replace(request, results=results)


def _taken(
    words: list[str], flags: Mapping[str, Mapping[str, Any]], hint: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Return the values of some flags, and the other words in their order."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, settings in flags.items():
        parser.add_argument(name, **settings)
    try:
        known, others = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UsageError(f"{error.argument_name} needs a value{hint}.") from error
    return vars(known), others


def _with_paths(words: list[str]) -> list[str]:
    """Return a command line with the paths of the configurations that it names."""
    found = list(words)
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in ("--config", "-c") and equals:
            found[place] = f"{flag}={find_config(value)}"
        elif word in ("--config", "-c"):
            found[place + 1] = str(find_config(words[place + 1]))
    return found


def _training(
    word: str | None, flags: list[str], configs: list[str], given: dict[str, Any], trust: list[str]
) -> Request:
    name, resume, init_from = given["name"], given["resume"], given["init_from"]
    if name is not None and (not name or name in (".", "..") or "/" in name or "\\" in name):
        raise UsageError(f"--name '{name}': a run's name is the name of one folder.")
    if resume is not None and init_from is not None:
        raise UsageError(
            "--resume goes on with a run, --init_from begins a new one: give one of the two."
        )
    source = word or next((path for path in reversed(configs) if not is_overlay(path)), None)
    if resume:
        checkpoint = find_checkpoint(resume, last=True)
        run = folders.run_of(checkpoint.path)
        if word is not None:
            _same_configuration(run, _canonical(word))
        folders.refuse_links(run)
        source = folders.started_with(run) or str(run / folders.CONFIG)
        resumed = _resumed(run, checkpoint, source, flags, trust)
        return dataclasses.replace(resumed, foreign=True)
    if source is None:
        raise UsageError(
            "What shall be trained? Say `unrolled fit TASK`; the tasks are: "
            f"{', '.join(tasks())}.\nA path to a YAML file works in a task's place."
        )
    path = find_config(source)
    content = read_yaml(path)
    task = task_of(content, path.stem) if is_path(source) else source.partition("/")[0]
    canonical = _canonical(source)
    root = given["trainer.default_root_dir"]
    trainer = content.get("trainer") or {}
    folder = root or (isinstance(trainer, dict) and trainer.get("default_root_dir")) or "runs"
    if not isinstance(trainer, dict) or not isinstance(folder, str):
        raise UsageError(
            f"'{path}': trainer has to hold keys such as 'max_steps:', and text as "
            "default_root_dir."
        )
    request = Request(
        command="fit",
        task=task,
        word=canonical,
        configs=[str(TRAINER / "default.yaml"), *([str(path)] if word else [])],
        flags=flags,
        root=Path(folder),
        name=name,
        init_from=find_checkpoint(init_from) if init_from else None,
        trust=trust,
    )
    if resume is None:
        if name is not None and folders.rank() == 0:
            folders.refuse_used(request.root / task / name)
        return request
    run = request.root / task / name if name else folders.newest_run(request.root, task, canonical)
    # the same command begins a run and goes on with it, as a cluster's queue wants it
    _same_configuration(run, canonical)
    if not checkpoints_of(run):
        own = run / folders.CONFIG
        # where it was killed before it saved anything it is begun again as what it was
        configs = [str(own)] if own.is_file() else request.configs
        return dataclasses.replace(request, run=run, configs=configs)
    return _resumed(run, newest_whole(run), canonical, flags, trust)


def _resumed(
    run: Path, checkpoint: WholeFile, word: str, flags: list[str], trust: list[str]
) -> Request:
    read_yaml(run / folders.CONFIG)  # it is YAML at all
    return Request(
        command="fit",
        task=run.resolve().parent.name,
        word=word,
        configs=[str(run / folders.CONFIG)],
        flags=flags,
        root=run.parent.parent,
        name=run.name,
        run=run,
        checkpoint=checkpoint,
        trust=trust,
    )


def _same_configuration(run: Path, word: str) -> None:
    started = folders.started_with(run)
    if started not in (None, word):
        raise UsageError(
            f"The run '{run}' was begun with '{started}', not with '{word}'.\n"
            f"Resume it as what it is (`unrolled fit {started} ... --resume`), or begin another "
            "run."
        )


def _canonical(word: str) -> str:
    if is_path(word):
        return str(Path(word).resolve())
    task, _, variant = word.partition("/")
    return f"{task}/{variant or 'default'}"


def _evaluation(
    command: str,
    word: str | None,
    flags: list[str],
    configs: list[str],
    ckpt_path: str | None,
    trust: list[str],
) -> Request:
    for flag in (flag.partition("=")[0] for flag in flags):
        if flag.partition(".")[0] in ("--model", "--model+"):
            raise UsageError(
                f"`unrolled {command}` takes the model from the checkpoint: leave '{flag}' out."
            )
    path = find_config(word) if word else None
    if ckpt_path is None:
        raise UsageError(f"`unrolled {command}` needs a trained model: add --ckpt_path CKPT.")
    checkpoint = checkpoint_file(ckpt_path)
    run = None
    with suppress(UsageError) if word or configs else nullcontext():
        run = folders.run_of(checkpoint.path)
    named = [*([path] if path else []), *map(find_config, configs)]
    if run and word and not configs and folders.started_with(run) == _canonical(word):
        named = []  # the run's own settings say more than what it was begun with
    files = named or [Path(run or "") / folders.CONFIG]
    if command == "predict" and not any(flag.startswith("--data") for flag in flags):
        _refuse_shipped_data(files)
    return Request(
        command=command,
        task=path.parent.name if path else "",
        word=word or str(files[-1]),
        configs=[str(TRAINER / "evaluate.yaml"), *map(_data_section, files)],
        flags=flags,
        root=Path("runs"),
        checkpoint=checkpoint,
        trust=trust,
        foreign=not named,
    )


def _refuse_shipped_data(files: list[Path]) -> None:
    """Refuse to predict where no data set of the user's own is named: ours predict nothing."""
    sections = [read_yaml(file).get("data") for file in files]
    names = [
        str(data["class_path"])
        for data in sections
        if isinstance(data, dict) and "class_path" in data
    ]
    if not names or names[-1].startswith("unrolled."):
        raise UsageError(
            "`unrolled predict` is for a data module of your own with a predict_dataloader: "
            "--data MODULE.CLASS.\n`unrolled generate`, `translate`, `caption` and `label` take "
            "what you give them."
        )


def _data_section(config: Path) -> str:
    """Return what an evaluation takes of a configuration: the model is the checkpoint's."""
    content = read_yaml(config)
    kept = {"data": content["data"]} if "data" in content else {}
    return yaml.safe_dump(kept, allow_unicode=True)
