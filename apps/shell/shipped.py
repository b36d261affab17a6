"""The configurations that come with the package, found by name without importing anything heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ...errors import UsageError, did_you_mean, quoted
from .source import PACKAGE

CONFIGS = PACKAGE / "configs"
TRAINER = CONFIGS / "trainer"


def tasks() -> list[str]:
    """Return the names of the tasks: one folder of configurations each."""
    folders = CONFIGS.iterdir() if CONFIGS.is_dir() else iter(())
    return sorted(path.name for path in folders if path != TRAINER and any(path.glob("*.yaml")))


def variants(task: str) -> list[str]:
    """Return the names of a task's variants, `default` first."""
    return sorted(
        (path.stem for path in (CONFIGS / task).glob("*.yaml")),
        key=lambda name: (name != "default", name),
    )


def overlays() -> list[str]:
    """Return the names of what says how any task is trained: `trainer/NAME`, for `--config`."""
    names = (path.stem for path in TRAINER.glob("*.yaml"))
    return sorted(f"trainer/{name}" for name in names if name not in ("default", "evaluate"))


class Shipped(NamedTuple):
    """One line of a list: a name and what it is."""

    name: str
    summary: str


def list_tasks() -> list[Shipped]:
    """Return the tasks with the first line of their default configuration."""
    return [
        Shipped(task, _comment(CONFIGS / task / f"{variants(task)[0]}.yaml")) for task in tasks()
    ]


def list_variants() -> list[Shipped]:
    """Return every `TASK/VARIANT` with the first line of its file."""
    return [
        Shipped(f"{task}/{variant}", _comment(CONFIGS / task / f"{variant}.yaml"))
        for task in tasks()
        for variant in variants(task)
    ]


def list_overlays() -> list[Shipped]:
    """Return every `trainer/NAME` with the first line of its file."""
    return [Shipped(name, _comment(CONFIGS / f"{name}.yaml")) for name in overlays()]


def _comment(path: Path) -> str:
    """Return the first line of a YAML file when it is a comment."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def is_overlay(word: str) -> bool:
    """Say whether a word is `trainer/NAME` or `trainer/NAME.yaml`, and no file of one's own."""
    return word.removesuffix(".yaml") in overlays() and not Path(word).is_file()


def is_path(word: str) -> bool:
    """Say whether a word names a file of one's own and no shipped configuration."""
    return Path(word).is_file() or (word.endswith((".yaml", ".yml")) and not is_overlay(word))


def find_config(word: str) -> Path:
    """Return the YAML that `TASK`, `TASK/VARIANT`, `trainer/NAME` or a path stands for.

    Args:
        word: A task, a task and its variant, what says how to train, or the path of a YAML file.

    Raises:
        UsageError: There is no such task, variant or file.
    """
    if is_overlay(word):
        return CONFIGS / f"{word.removesuffix('.yaml')}.yaml"
    if is_path(word):
        path = Path(word)
        if not path.is_file():
            siblings = path.parent.glob("*.y*ml") if path.parent.is_dir() else iter(())
            shipped = (f"{name}.yaml" for name in overlays())
            near = did_you_mean(str(path), [*map(str, siblings), *shipped])
            raise UsageError(f"There is no configuration file '{word}'.{near}")
        return path
    task, _, variant = word.partition("/")
    known = tasks()
    if task == TRAINER.name:
        raise UsageError(
            f"There is no '{word}'.{did_you_mean(word, overlays())}\n"
            f"There are: {', '.join(overlays())}."
        )
    if task not in known:
        raise UsageError(
            f"There is no task '{task}'.{did_you_mean(task, known)}\n"
            f"The tasks are: {', '.join(known) or 'none'}. A path to a .yaml file works too."
        )
    variant = variant or "default"
    if variant not in variants(task):
        near = did_you_mean(variant, variants(task))
        raise UsageError(
            f"The task '{task}' has no variant '{variant}'.{near}\n"
            f"Its variants are: {', '.join(variants(task))}."
        )
    return CONFIGS / task / f"{variant}.yaml"


def own_yaml(text: str) -> Any:
    """Return what YAML of our own writing says: read by libyaml, ten times as fast where it is.

    A stranger's may nest so deeply that older ones of it (0.2.5) crash.

    Args:
        text: The text.
    """
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Args:
        path: The file.

    Raises:
        UsageError: The file is no YAML, or holds something else than a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = own_yaml(text) if CONFIGS in path.parents else yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"'{path}' can't be read: {error.strerror}.") from error
    except RecursionError as error:
        raise UsageError(f"'{path}' is nested too deeply.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not valid YAML: it is not UTF-8 text.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(f"'{path}'{line} is not valid YAML: {quoted(problem, 200)}.") from error
    # What PyYAML makes of a tag's text: !!int x, !!bool x, !!timestamp x raise as they come.
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = quoted(str(error), 200)
        raise UsageError(f"'{path}' holds a value that is not what it claims: {reason}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(
            f"'{path}' holds no configuration: expected keys such as 'model:' and 'data:'."
        )
    return content


def class_name(config: dict[str, Any], section: str) -> str:
    """Return the short name of the class that a section of a configuration names, or ''.

    Args:
        config: The content of a YAML file.
        section: `model` or `data`.
    """
    value = config.get(section)
    path = value.get("class_path", "") if isinstance(value, dict) else value
    return str(path or "").rpartition(".")[2]


def task_of(config: dict[str, Any], otherwise: str) -> str:
    """Return the task that a configuration trains, by its model class.

    Args:
        config: The content of a YAML file.
        otherwise: The answer for a model that no shipped configuration uses.
    """
    name = class_name(config, "model")
    for task in tasks():
        if name and name == class_name(
            read_yaml(CONFIGS / task / f"{variants(task)[0]}.yaml"), "model"
        ):
            return task
    return otherwise
