"""What a `fit`, `validate`, `test` or `predict` command asks for, found out before anything heavy is imported."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from ...checkpoints import WholeFile, checkpoints_of, find_checkpoint, newest_whole
from ...errors import UsageError
from . import folders
from .shipped import TRAINER, find_config, is_path, read_yaml, task_of, tasks

# Sections of a configuration that only training reads; an evaluation takes its data, and its model
# from a checkpoint.
_EVALUATED = ("data",)


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
    words = list(words)
    word = words.pop(0) if words and not words[0].startswith("-") else None
    options = {
        name: _take(words, f"--{name}") for name in ("name", "init_from", "ckpt_path", "trust")
    }
    resume = _take(words, "--resume", bare="")
    root = _take(words, "--trainer.default_root_dir")
    for path in _configs_in(words):
        read_yaml(find_config(path))
    if command != "fit":
        for name, value in (
            ("name", options["name"]),
            ("resume", resume),
            ("init_from", options["init_from"]),
        ):
            if value is not None:
                raise UsageError(
                    f"--{name} belongs to `unrolled fit`, not to `unrolled {command}`."
                )
    elif options["ckpt_path"] is not None:
        raise UsageError(
            "`unrolled fit` has no --ckpt_path: --resume PATH goes on with a run where it stopped,\n"
            "--init_from PATH begins a new run with a checkpoint's weights."
        )
    trust = [package for package in (options["trust"] or "").split(",") if package]
    if command == "fit":
        return _training(word, words, options["name"], resume, options["init_from"], root, trust)
    return _evaluation(command, word, words, options["ckpt_path"], trust)


def _training(
    word: str | None,
    flags: list[str],
    name: str | None,
    resume: str | None,
    init_from: str | None,
    root: str | None,
    trust: list[str],
) -> Request:
    if name is not None and (not name or name in (".", "..") or "/" in name or "\\" in name):
        raise UsageError(f"--name '{name}': a run's name is the name of one folder.")
    if resume is not None and init_from is not None:
        raise UsageError(
            "--resume goes on with a run, --init_from begins a new one: give one of the two."
        )
    source = word or next(reversed(_configs_in(flags)), None)
    if resume:
        checkpoint = find_checkpoint(resume)
        run = folders.run_of(checkpoint.path)
        if word is not None:
            _same_configuration(run, _canonical(word))
        folders.refuse_links(run)
        resumed = _resumed(run, checkpoint, folders.started_with(run) or str(run), flags, trust)
        return dataclasses.replace(resumed, foreign=True)
    if source is None:
        raise UsageError(
            f"What shall be trained? Say `unrolled fit TASK`; the tasks are: {', '.join(tasks())}.\n"
            "A path to a YAML file works in a task's place."
        )
    path = find_config(source)
    content = read_yaml(path)
    task = task_of(content, path.stem) if is_path(source) else source.partition("/")[0]
    canonical = _canonical(source)
    folder = Path(root or (content.get("trainer") or {}).get("default_root_dir") or "runs")
    request = Request(
        command="fit",
        task=task,
        word=canonical,
        configs=[str(TRAINER / "default.yaml"), *([str(path)] if word else [])],
        flags=flags,
        root=folder,
        name=name,
        init_from=find_checkpoint(init_from) if init_from else None,
        trust=trust,
    )
    if resume is None:
        if name is not None and folders.rank() == 0:
            folders.refuse_used(folder / task / name)
        return request
    run = folder / task / name if name else folders.newest_run(folder, task, canonical)
    # the same command begins a run and goes on with it, as a cluster's queue wants it
    if not checkpoints_of(run):
        return dataclasses.replace(request, run=run)
    _same_configuration(run, canonical)
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
            f"Resume it as what it is (`unrolled fit {started} ... --resume`), or begin another run."
        )


def _canonical(word: str) -> str:
    if is_path(word):
        return str(Path(word).resolve())
    task, _, variant = word.partition("/")
    return f"{task}/{variant or 'default'}"


def _evaluation(
    command: str, word: str | None, flags: list[str], given: str | None, trust: list[str]
) -> Request:
    for flag in flags:
        if flag.split("=")[0].split(".")[0] in ("--model", "--model+"):
            raise UsageError(
                f"`unrolled {command}` takes the model from the checkpoint: leave '{flag.partition('=')[0]}' out."
            )
    path = find_config(word) if word else None
    if given is None:
        raise UsageError(f"`unrolled {command}` needs a trained model: add --ckpt_path CKPT.")
    checkpoint = find_checkpoint(given)
    configs = [path] if path else []
    configs += [find_config(path) for path in _configs_in(flags)]
    _take(flags, "--config", "-c")
    foreign = not configs
    if foreign:
        configs = [folders.run_of(checkpoint.path) / folders.CONFIG]
    return Request(
        command=command,
        task=path.parent.name if path else "",
        word=word or str(configs[-1]),
        configs=[
            str(TRAINER / "evaluate.yaml"),
            *(_sections(read_yaml(config)) for config in configs),
        ],
        flags=flags,
        root=Path("runs"),
        checkpoint=checkpoint,
        trust=trust,
        foreign=foreign,
    )


def _sections(content: dict[str, Any]) -> str:
    kept = {name: content[name] for name in _EVALUATED if name in content}
    return yaml.safe_dump(kept, allow_unicode=True)


def _take(words: list[str], *names: str, bare: str | None = None) -> str | None:
    """Remove a flag and its value from a command line and return the value; the last one given counts.

    Args:
        words: The command line, changed in place.
        names: The flag, by each of its names.
        bare: The value of the flag without one; None where it needs one.

    Returns:
        The value, or None where the flag is not given.

    Raises:
        UsageError: The flag lacks its value.
    """
    value = None
    index = 0
    while index < len(words):
        name, equals, text = words[index].partition("=")
        if name not in names:
            index += 1
            continue
        del words[index]
        if equals:
            value = text
        elif index < len(words) and not words[index].startswith("-"):
            value = words.pop(index)
        elif bare is not None:
            value = bare
        else:
            raise UsageError(f"{name} needs a value.")
    return value


def _configs_in(words: list[str]) -> list[str]:
    """Return the values of `--config` and `-c`."""
    found = []
    for index, word in enumerate(words):
        name, equals, text = word.partition("=")
        if name not in ("--config", "-c"):
            continue
        if not equals and index + 1 == len(words):
            raise UsageError(f"{name} needs a value: the path of a YAML file.")
        found.append(text if equals else words[index + 1])
    return found
