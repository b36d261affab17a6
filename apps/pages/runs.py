"""What the files of a run say: its configuration, checkpoint, course and scores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...checkpoints import checkpoints_of, find_checkpoint
from ...errors import DataError, UnrolledError, UsageError, quoted
from ..plots.curves import TABLE, Course, read_run
from ..run.folder.folders import CONFIG, leads_out, run_of, short, started_with
from ..shell.shipped import read_yaml
from .tested import Tested, tested_of

if TYPE_CHECKING:
    from ...loading import CheckedCheckpoint
    from ...tasks.model import Model

_LARGEST = 1 << 20  # bytes of a configuration
_MOST, _DEEPEST = 2000, 20  # settings of a configuration: an alias in YAML may repeat itself


class RunSummary(NamedTuple):
    """What is known of a run.

    Attributes:
        folder: Its folder.
        name: What it is called.
        configuration: The text of its `config.yaml`; empty where there is none.
        settings: The same as texts by their whole names, as `model.init_args.core.class_path`.
        checkpoint: The checkpoint that the report is of, its best or its last.
        model: The model in it.
        course: Its metrics over the steps.
        tested: What `unrolled test` left.
        missing: What the report lacks, and why, in sentences.
    """

    folder: Path
    name: str
    configuration: str
    settings: dict[str, str]
    checkpoint: CheckedCheckpoint | None
    model: Model | None
    course: Course | None
    tested: Tested | None
    missing: list[str]

    @property
    def task(self) -> str:
        """The short name of its task's class; empty where nothing says so."""
        named = self.checkpoint.task if self.checkpoint else None
        return str(named or self.settings.get("model.class_path", "")).rpartition(".")[2]

    @property
    def data(self) -> str:
        """The short name of its data module's class; empty where nothing says so."""
        return self.settings.get("data.class_path", "").rpartition(".")[2]

    @property
    def word(self) -> str | None:
        """What was given after `unrolled fit`."""
        return started_with(self.folder)


def read_runs(given: Sequence[str | os.PathLike[str]], trust: str = "") -> list[RunSummary]:
    """Return what is known of runs.

    Args:
        given: Folders of runs, or checkpoints in them; a folder of runs stands for all of them.
        trust: Packages whose classes their checkpoints may name.

    Raises:
        DataError: There is no run.
    """
    places = list(dict.fromkeys(place for one in given for place in _places(Path(one))))
    names = ["/".join(folder.absolute().parts[-2:]) for folder, _ in places]
    several = [  # two checkpoints of a run, and runs of one name
        f"{name} ({(file or folder).as_posix()})" if names.count(name) > 1 else name
        for name, (folder, file) in zip(names, places, strict=True)
    ]
    return [
        _read(folder, file, name, trust)
        for name, (folder, file) in zip(several, places, strict=True)
    ]


def run_around(checkpoint: CheckedCheckpoint, trust: str = "") -> RunSummary:
    """Return what is known of a checkpoint: of its run, where it lies in one.

    Scores are its own, not those of another checkpoint of the run.

    Args:
        checkpoint: The checkpoint.
        trust: Packages whose classes it may name.
    """
    path = checkpoint.path
    try:
        folder = run_of(path)
    except UsageError:
        return RunSummary(path.parent, path.stem, "", {}, checkpoint, None, None, None, [])
    run = _read(folder, path, "/".join(folder.absolute().parts[-2:]), trust)
    return run._replace(tested=None) if run.tested and run.tested.stale else run


def _places(path: Path) -> list[tuple[Path, Path | None]]:
    """Return the folders of runs that a path stands for, with the checkpoint where it is one."""
    if path.is_file():
        try:
            return [(run_of(path), path)]
        except UsageError as error:
            raise DataError(
                f"'{path}' lies in no run's folder, which a report is about: name the folder, as "
                "runs/char_lm/1."
            ) from error
    if not path.is_dir():
        find_checkpoint(path)  # says what is near
        raise DataError(f"There is no run '{path}'.")
    if _is_run(path):
        return [(path, None)]
    inside = [(one, None) for one in sorted(path.iterdir()) if one.is_dir() and _is_run(one)]
    if not inside:
        raise DataError(
            f"'{path}' is no run's folder: it has neither {CONFIG} nor {TABLE} nor checkpoints. "
            "Name one, as runs/char_lm/1."
        )
    return inside  # type: ignore[return-value]


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in (CONFIG, TABLE)) or bool(checkpoints_of(path))


def _read(folder: Path, file: Path | None, name: str, trust: str) -> RunSummary:
    missing: list[str] = []
    configuration, settings = "", dict[str, str]()
    try:
        configuration, settings = _configuration(folder / CONFIG)
    except UnrolledError as error:
        missing.append(f"The configuration: {error}")
    course = None
    try:
        if (folder / TABLE).is_file():
            course = read_run(folder)
        else:
            missing.append(f"The curves: there is no {TABLE}; a logger of your own has them.")
    except UnrolledError as error:
        missing.append(f"The curves: {error}")
    checkpoint = model = None
    try:
        found = find_checkpoint(file or folder)
        from ...loading import CheckedCheckpoint, load

        checkpoint = CheckedCheckpoint(found, trust=trust)
        model = load(found, trust=trust)
    except UnrolledError as error:
        remedy = " Name the packages with --trust." if "trust" in str(error) else ""
        missing.append(f"The model: {error}{remedy}")
    tested = None
    try:
        tested = tested_of(folder, checkpoint)
    except UnrolledError as error:
        missing.append(f"The scores: {error}")
    if tested is None:
        place = short(checkpoint.path if file and checkpoint else folder)
        missing.append(
            f"Scores of a test: none was made. unrolled test --ckpt_path {place} makes one."
        )
    elif tested.stale:
        missing.append(tested.stale)
    return RunSummary(
        folder, name, configuration, settings, checkpoint, model, course, tested, missing
    )


def _configuration(path: Path) -> tuple[str, dict[str, str]]:
    if not path.is_file():
        raise DataError(f"there is no {CONFIG}.")
    if leads_out(path, path.parent):  # the page would show what lies there
        raise DataError(f"'{path}' leads out of the run's folder.")
    if (size := path.stat().st_size) > _LARGEST:
        raise DataError(f"'{path}' has {size:,} bytes; no more than {_LARGEST:,} are shown.")
    content = read_yaml(path)
    settings: dict[str, str] = {}
    for name, value in _leaves(content, "", 0):
        if len(settings) == _MOST:
            break
        settings[name] = value
    return path.read_text(encoding="utf-8"), settings


def _leaves(value: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield the values of nested data by their whole names, all of them as short texts."""
    if isinstance(value, dict) and value and depth < _DEEPEST:
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list) and depth < _DEEPEST and any(isinstance(i, dict) for i in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{name}.{number}", depth + 1)
    else:
        yield quoted(name, 200), "null" if value is None else quoted(value, 200)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Args:
        path: The file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differing(runs: Sequence[RunSummary]) -> list[str]:
    """Return the names of the settings in which runs differ.

    Args:
        runs: The runs.
    """
    names = dict.fromkeys(name for run in runs for name in run.settings)
    return [name for name in names if len({run.settings.get(name) for run in runs}) > 1]
