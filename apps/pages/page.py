"""The report's page: runs side by side, all in one file that loads nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from ...errors import UnrolledError, UsageError, quoted, some
from ..info import describe
from ..plots.curves import draw as draw_curves
from ..run.folder.folders import CONFIG, short
from .html import Content, Html, element, joined, table
from .pictures import Drawing, drawings, figure
from .runs import RunSummary, differing, digest
from .samples import samples, written
from .style import STYLE

LARGEST = 5_000_000  # bytes of a page
_ROOM = 4_000_000  # of them for pictures
_CONFIGURATION = 50_000  # characters that are shown of one
_LISTED = 60  # items that are shown of a list of the spec
# nothing is loaded from anywhere, and no script runs, whatever is in the page
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(runs: Sequence[RunSummary], example: str = "") -> str:
    """Return the report of runs as the text of one HTML file.

    Args:
        runs: At least one.
        example: As for `drawings`.

    Raises:
        UsageError: It would be too large.
    """
    from ... import __version__

    title = some([run.name for run in runs], 4)
    room = _ROOM
    curves: list[Html] = []
    shown: list[tuple[Html, list[Html]]] = []
    found: list[str] = []  # what is missing of the curves of all
    with_course = [run.course for run in runs if run.course]
    if with_course:
        drawing = Drawing("Curves.", "", lambda: draw_curves(with_course), lines=True)
        curves, room, _ = _drawn([drawing], room, found)
    for run in runs:
        texts = written(run)
        said = samples(run, texts)
        pictures, room, left = _drawn(
            drawings(
                run, max((text for _, each in texts for text in each), key=len, default=""), example
            ),
            room,
            run.missing,
        )
        if left:
            run.missing.append(f"{left} pictures: the page would be larger than {LARGEST:,} bytes.")
        shown.append((said, pictures))
    sections: list[tuple[str, Content]] = [
        ("Overview", _overview(runs)),
        ("Scores", _scores(runs)),
        ("Curves", curves),
        ("Samples", _each(runs, [said for said, _ in shown])),
        (
            "Pictures",
            _each(runs, [joined(p) and element("div", p, class_="pictures") for _, p in shown]),
        ),
        ("Data", _each(runs, map(_data, runs))),
        ("Configuration", _configuration(runs)),
        ("How to reproduce it", _each(runs, map(_commands, runs))),
        ("What is missing", _missing(runs, found)),
    ]
    there = [(name, joined(content)) for name, content in sections]
    there = [(name, content) for name, content in there if content]
    body = [
        element("h1", title),
        element("p", f"A report of unrolled {__version__}", class_="quiet"),
        element("nav", [element("a", name, href=f"#{_id(name)}") for name, _ in there]),
        element(
            "main",
            [
                element("section", element("h2", name), content, id=_id(name))
                for name, content in there
            ],
        ),
    ]
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", STYLE),
    ]
    whole = element("html", element("head", head), element("body", body), lang="en")
    text = f"<!DOCTYPE html>\n{whole}\n"
    if (size := len(text.encode())) > LARGEST:
        raise UsageError(
            f"The report would have {size:,} bytes, more than {LARGEST:,}: name fewer runs."
        )
    return text


def _id(name: str) -> str:
    return name.lower().replace(" ", "-")


def _each(runs: Sequence[RunSummary], contents: Iterator[Html] | Sequence[Html]) -> Content:
    """Return what there is to say of each run, side by side; nothing where nothing is."""
    parts = list(contents)
    if not any(parts):
        return None
    several = len(runs) > 1
    return element(
        "div",
        [
            element("article", element("h3", run.name) if several else None, part or "Nothing.")
            for run, part in zip(runs, parts, strict=True)
        ],
        class_="runs several" if several else "runs",
    )


def _drawn(
    wanted: Sequence[Drawing] | Iterator[Drawing], room: int, missing: list[str]
) -> tuple[list[Html], int, int]:
    """Draw pictures as long as there is room; return them, the room left, how many had none."""
    found: list[Html] = []
    left = 0
    try:
        for drawing in wanted:
            try:
                one = figure(drawing)
            except UnrolledError as error:
                missing.append(f"A picture ({drawing.title.removesuffix('.')}): {error}")
                continue
            if len(one) > room:
                left += 1
                continue
            found.append(one)
            room -= len(one)
    except UnrolledError as error:
        missing.append(f"Pictures: {error}")
    return found, room, left


def _by_run(runs: Sequence[RunSummary], columns: Sequence[dict[str, str]]) -> Html:
    """Return a table with a row for each name and a column for each run."""
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [[name, *(column.get(name, "–") for column in columns)] for name in names]
    head = ["", *(run.name for run in runs)] if len(runs) > 1 else []
    return table(head, rows)


def _overview(runs: Sequence[RunSummary]) -> Content:
    return _by_run(runs, [dict(_facts(run)) for run in runs])


def _facts(run: RunSummary) -> Iterator[tuple[str, str]]:
    yield "folder", str(short(run.folder.absolute()))
    if run.checkpoint:
        said = dict(describe(run.checkpoint))
        yield from (
            (name, said[name]) for name in ("task", "weights", "trained", "best") if name in said
        )
        path = run.checkpoint.path
        yield "checkpoint", f"{path.name}, {path.stat().st_size:,} bytes"
        yield "SHA-256", digest(path)
    elif run.task:
        yield "task", run.task
    if run.model:
        yield from _parts(run)
    if run.data:
        yield "data", run.data
    if run.course:
        end = max(points[-1][0] for points in run.course.series.values())
        yield "logged to step", f"{end:.0f}"
        if run.course.resumed:
            yield "resumed at steps", some([f"{step:.0f}" for step in run.course.resumed])


def _parts(run: RunSummary) -> Iterator[tuple[str, str]]:
    """Yield what the network is made of: the arguments that are classes."""
    assert run.checkpoint is not None
    arguments = run.checkpoint.model["init_args"]
    said = dict(describe(run.checkpoint))
    for name, value in arguments.items():
        if isinstance(value, dict) and "class_path" in value:
            yield name.replace("_", " "), said[name]


def _scores(runs: Sequence[RunSummary]) -> Content:
    if not any(run.tested for run in runs):
        return None
    columns = [
        {name: number(value) for name, value in run.tested.scores.items()} if run.tested else {}
        for run in runs
    ]
    signatures = dict.fromkeys(
        text for run in runs if run.tested for text in run.tested.signatures.values()
    )
    return [
        _by_run(runs, columns),
        [element("p", element("code", text), class_="quiet") for text in signatures],
    ]


def number(value: float | None) -> str:
    """Return a score as it is shown.

    Args:
        value: The score; None: it is not finite.
    """
    return "not finite" if value is None else f"{value:.4f}"


def _data(run: RunSummary) -> Html:
    spec = run.checkpoint.spec if run.checkpoint else {}
    said = dict(describe(run.checkpoint)) if run.checkpoint else {}
    rows = [
        (name, some(value, _LISTED) if isinstance(value, list) else said[f"spec.{name}"])
        for name, value in spec.items()
    ]
    given = [
        (
            name.removeprefix("data.").removeprefix("init_args.").replace("class_path", "class"),
            value,
        )
        for name, value in run.settings.items()
        if name.startswith("data.") and value != "null"
    ]
    return joined(
        [
            table([], rows, "What the model knows of its data (spec)") if rows else None,
            table([], given, "How they were read") if given else None,
        ]
    )


def _configuration(runs: Sequence[RunSummary]) -> Content:
    parts: list[Content] = []
    if len(runs) > 1 and (names := differing(runs)):
        rows = [[name, *(run.settings.get(name, "–") for run in runs)] for name in names[:200]]
        more = f"; the first 200 of {len(names):,}" if len(names) > 200 else ""
        head = ["setting", *(run.name for run in runs)]
        parts.append(table(head, rows, f"What differs{more}"))
    whole = [
        joined(
            element(
                "details",
                element("summary", f"The whole {CONFIG}"),
                element("pre", run.configuration[:_CONFIGURATION]),
                _cut_note(run),
            )
            if run.configuration
            else None
        )
        for run in runs
    ]
    parts.append(_each(runs, whole))
    return parts


def _cut_note(run: RunSummary) -> Content:
    length = len(run.configuration)
    if length <= _CONFIGURATION:
        return None
    return element("p", f"The first {_CONFIGURATION:,} of {length:,} characters.")


def _commands(run: RunSummary) -> Html:
    """Return the commands that would lead to the same run."""
    return element("pre", "\n".join(commands(run)))


def commands(run: RunSummary) -> list[str]:
    """Return the commands that lead to the same run and the same scores.

    Args:
        run: The run.
    """
    folder = quoted_word(str(short(run.folder.absolute())))
    version = (run.checkpoint.content["unrolled"].get("version") if run.checkpoint else None) or ""
    pinned = f"=={version}" if version and all(c.isalnum() or c in ".+" for c in version) else ""
    lines = [f"pip install unrolled{pinned}"]
    if run.configuration:
        comment = f"  # begun as: unrolled fit {quoted(run.word, 80)}" if run.word else ""
        lines.append(
            f"unrolled fit {quoted_word(f'{short(run.folder.absolute())}/{CONFIG}')}{comment}"
        )
    if run.checkpoint:
        path = quoted_word(str(short(run.checkpoint.path.absolute())))
        lines.append(f"unrolled test --ckpt_path {path}")
    return [*lines, f"unrolled report {folder}"]


def quoted_word(word: str) -> str:
    """Return a word as a shell takes it.

    Args:
        word: The word.
    """
    return shlex.quote(word)


def _missing(runs: Sequence[RunSummary], found: Sequence[str]) -> Content:
    entries = [
        *((run.name, text) for run in runs for text in dict.fromkeys(run.missing)),
        *(("All runs", text) for text in found),
    ]
    if not entries:
        return None
    rows = [
        element("p", element("b", f"{name}: ") if len(runs) > 1 else None, text)
        for name, text in entries
    ]
    return element("div", rows, class_="missing")
