"""Look at data as fit would read it, and train nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DataError, UnrolledError, UsageError, one_line
from .shell.help import function_help

if TYPE_CHECKING:
    from collections.abc import Callable

    from .checks.reading import Read
    from .checks.report import Report


def carry_out(words: list[str]) -> int:
    """Carry out the command; its flags are those of `unrolled fit`.

    Args:
        words: What follows its name.
    """
    if "--help" in words or "-h" in words:
        print(function_help("check", check))
        return 0
    if not words or words[0].startswith("-"):
        raise UsageError(
            "What shall be checked? unrolled check TASK[/VARIANT] DATA, or the --data flags of "
            "`unrolled fit`."
        )
    return check(*words)


def check(task: str, *data: str) -> int:
    """Look at data as `unrolled fit` would read it, and train nothing.

    Prints what there is (numbers, lengths, scripts, classes, batches), and what is doubtful: items
    of the test that are in the training part too, doubles, empty lines, exchanged sides, rare
    classes, files that can't be read, unknown symbols. What is read is kept for `fit`.

    Args:
        task: What `unrolled fit` would train: a task, TASK/VARIANT, or a YAML file.
        *data: A file or folder with the data, and the flags of `unrolled fit` (--data.root DIR).

    Returns:
        0 where `fit` could begin, else its exit code.
    """
    from .checks.reading import read_as_fit

    read = read_as_fit(task, list(data))

    from .checks.report import Report

    report = Report()
    try:
        for look in _looks(read.data):
            look(read, report)
    except UnrolledError:
        _print(report, ended=False)
        raise
    _print(report)
    return DataError.exit_code if report.stops else 0


def _looks(data: object) -> list[Callable[[Read, Report], None]]:
    """Return what looks at a data module: what its kind has, and what all have."""
    from ..data.captioning.base import CaptioningData
    from ..data.text.module import TextData
    from ..data.translation.base import TranslationData
    from ..data.video.base import VideoLabellingData
    from .checks import batches, captioning, text, translation, video

    kinds = {
        TextData: text.look,
        TranslationData: translation.look,
        CaptioningData: captioning.look,
        VideoLabellingData: video.look,
    }
    found = [look for kind, look in kinds.items() if isinstance(data, kind)]
    return [*found, batches.look]


def _print(report: Report, *, ended: bool = True) -> None:
    for name, said in report.told:
        print(f"{name:<14}{one_line(said)}")
    for doubt in report.doubts:
        print(f"doubtful      {one_line(doubt)}")
    if ended and not report.doubts:
        print("doubtful      nothing was found")
