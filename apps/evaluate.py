"""Score predictions of any program against the truth, without a model."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import DataError, UsageError, one_line, printable, some
from .shell.records import Format, Output, format_of

if TYPE_CHECKING:
    from ..data.video.annotations.segments import Annotation

Kind = Literal["auto", "translation", "captioning", "video"]
_TEXTS = ("translation", "hypothesis", "prediction", "target", "text")
_REFERENCES = ("reference", "target", "translation", "text")
_IMAGES = ("image_id", "image", "file_name", "filename", "image_name", "path")
_CAPTIONS = ("caption", "prediction", "text")


class _Scores(NamedTuple):
    """What came of a comparison.

    Attributes:
        scores: By name.
        signatures: What has to be said with them.
        matched: How many items were scored.
        missing: Items of the truth without a prediction.
        extra: Predictions of what the truth does not have.
    """

    scores: Mapping[str, float]
    signatures: Mapping[str, str]
    matched: int
    missing: Sequence[str]
    extra: Sequence[str]


def evaluate(
    predictions: str,
    truth: str,
    *,
    kind: Kind = "auto",
    tokenize: str = "13a",
    errors: Literal["words", "phonemes"] = "words",
    background: str = "",
    pooled: bool = True,
    format: Format | None = None,
    out: str | None = None,
) -> None:
    """Score predictions of any program against the truth, without a model.

    Translations are lines, or a table with columns such as translation and reference, matched by id
    where both have one; captions a table with image and caption or COCO's results file, against
    COCO's, Karpathy's or other caption files; labels of frames CSV files or lines, by the videos'
    names. What is missing is named, and left out of the scores; the exit code is then 3.

    Args:
        predictions: A file, or a folder of labels with a file for each video; of translations -
            is standard input.
        truth: The same of what is right.
        kind: What is scored: translation, captioning or video; auto finds out.
        tokenize: Of translations: sacreBLEU's tokenization, 13a, zh, char, intl or none.
        errors: Of translations: what the error rate counts, words (wer) or the phonemes of
            pronunciations (per).
        background: Of videos: classes that edit and F1 leave out, with commas in between.
        pooled: Of videos: count frames and segments of all of them together, or take means over
            videos.
        format: Write the scores as a record; null: as the name of --out ends, .tsv, .csv, .json or
            .jsonl, else a line each.
        out: The file to write; null is standard output.
    """
    from ..data.formats.folders import missing_file, path_of
    from .shell.texts import STANDARD_INPUT

    given, right = path_of(predictions), path_of(truth)
    for path, said in ((given, predictions), (right, truth)):
        if said != STANDARD_INPUT and not path.exists():
            raise DataError(missing_file(path.absolute(), said))
    if predictions == truth == STANDARD_INPUT:
        raise UsageError("Standard input can be read once: name - for one of the two.")
    found = _kind(given, right) if kind == "auto" else kind
    if found != "translation" and STANDARD_INPUT in (predictions, truth):
        raise UsageError(f"--kind {found} -: standard input holds translations only: name a file.")
    output = Output(("name", "value"), format, out, [given, right])
    if found == "translation":
        result = _translations(given, right, tokenize, errors)
    elif found == "captioning":
        result = _captions(given, right)
    else:
        names = [name.strip() for name in background.split(",") if name.strip()]
        result = _videos(given, right, names, pooled)
    counts = {"missing": len(result.missing), "extra": len(result.extra)}
    with output:
        for name, value in {**result.scores, "matched": result.matched, **counts}.items():
            shown = f"{value:.4f}" if isinstance(value, float) else value
            output.put({"name": name, "value": value}, (f"{name}  {shown}",))
        if not output.lines:
            for name, text in result.signatures.items():
                output.put({"name": f"signature of {name}", "value": text})
    for text in result.signatures.values():
        print(printable(text), file=sys.stderr)
    if result.extra:
        print(
            f"unrolled: not in the truth, and not scored: {printable(some(result.extra))}",
            file=sys.stderr,
        )
    if result.missing:
        raise DataError(
            f"{len(result.missing):,} item(s) of the truth have no prediction and are not scored: "
            f"{some(result.missing)}."
        )


def _kind(predictions: Path, truth: Path) -> Kind:
    """Find out what files hold."""
    from ..data.formats.table import normal
    from .shell.reading import read_records
    from .shell.texts import read_once

    if read_once(predictions) or read_once(truth):
        return "translation"
    if predictions.is_dir() or truth.is_dir():
        tables = (".csv", ".tsv")
        if predictions.is_dir() and (truth.is_dir() or truth.suffix.lower() in tables):
            return "video"
        if predictions.is_dir():
            raise UsageError(f"'{predictions}' is a folder, '{truth}' is none: name two of a kind.")
        return "captioning"  # a folder with a caption file
    if format_of(predictions) is None:
        return "translation" if _first(predictions) != _RECOGNITION else "video"
    names = {normal(name) for name in read_records(predictions)[0]}
    if "label" in names and names & {"frame", "start"}:
        return "video"
    return "captioning" if names & set(_IMAGES) and "caption" in names else "translation"


def _matched(
    given: Mapping[Any, Any], right: Mapping[Any, Any], what: str
) -> tuple[list[Any], list[str], list[str]]:
    """Return the keys of both, those missing and those too many, in the order of the truth."""
    both = [key for key in right if given.get(key) is not None]
    missing = [str(key) for key in right if given.get(key) is None]
    extra = [str(key) for key in given if key not in right]
    if not both:
        raise DataError(
            f"None of the {len(right):,} {what} of the truth is among the {len(given):,} that were "
            f"predicted: there are {one_line(some(right, 3))}, predicted are "
            f"{one_line(some(given, 3))}."
        )
    return both, missing, extra


def _translations(predictions: Path, truth: Path, tokenize: str, errors: str) -> _Scores:
    from ..tasks.metrics import PhonemeErrorRate, SacreBLEU, WordErrorRate

    given, right = _texts(predictions, _TEXTS), _texts(truth, _REFERENCES)
    for path, texts in ((predictions, given), (truth, right)):
        if not texts:
            raise DataError(f"'{path}' holds no sentences.")
    if len(given) != len(right) and None in (format_of(predictions), format_of(truth)):
        raise DataError(
            f"'{predictions}' has {len(given):,} sentences and '{truth}' {len(right):,}: line n of "
            "one has to be the translation of line n of the other."
        )
    both, missing, extra = _matched(given, right, "sentences")
    metric = SacreBLEU(tokenize=tokenize)
    rate = PhonemeErrorRate() if errors == "phonemes" else WordErrorRate()
    pairs = [given[key] or "" for key in both], [right[key] or "" for key in both]
    metric.update(*pairs)
    rate.update(*pairs)
    scores = {name: float(value) for name, value in metric.compute().items()}
    scores["per" if errors == "phonemes" else "wer"] = float(rate.compute())
    return _Scores(scores, metric.signatures(), len(both), missing, extra)


def _texts(path: Path, names: Sequence[str]) -> dict[str, str | None]:
    """Return the sentences of a file by their ids: the column's, else the numbers of the lines."""
    from ..data.tables import lines
    from .shell.reading import column, read_records, text_of
    from .shell.texts import text_blocks

    if format_of(path) is None:
        found = lines(*text_blocks(str(path)))
        return {str(number): line for number, line in enumerate(found, 1)}
    records = read_records(path)
    name = column(records, names, path, "sentences")
    texts: dict[str, str | None] = {}
    for number, record in enumerate(records, 1):
        if str(record.get("rank") or 1) != "1":  # of the n best the best is scored
            continue
        key = str(record.get("id", number))
        if key in texts:
            raise DataError(f"'{path}' has the id '{key}' twice.")
        texts[key] = text_of(record, name, path)
    return texts


def _captions(predictions: Path, truth: Path) -> _Scores:
    from ..data.captioning.files import read_captions
    from ..tasks.metrics.caption import SIGNATURE, caption_scores
    from .shell.reading import column, read_records, text_of

    entries = [entry for entry in read_captions(truth, "auto").entries if entry.captions]
    right = {entry.image: entry for entry in entries}
    called: dict[str, str | None] = {}  # images by all that they may be called
    for entry in entries:
        number = () if entry.id is None else (str(entry.id),)
        for name in {entry.image, Path(entry.image).name, Path(entry.image).stem, *number}:
            called[name] = None if name in called else entry.image
    called |= {image: image for image in right}
    records = read_records(predictions)
    key = column(records, _IMAGES, predictions, "images")
    text = column(records, _CAPTIONS, predictions, "captions")
    given: dict[str, str | None] = {}
    for record in records:
        if str(record.get("rank") or 1) != "1":
            continue
        name = str(record.get(key))
        names = (name, Path(name).name, Path(name).stem)
        image = next((called[one] for one in names if called.get(one)), None) or name
        if image in given:
            raise DataError(f"'{predictions}' has two captions of '{image}'.")
        given[image] = text_of(record, text, predictions)
    both, missing, extra = _matched(given, right, "images")
    scores = caption_scores(
        [given[image] or "" for image in both], [right[i].captions for i in both]
    )
    return _Scores(scores, {"captions": SIGNATURE}, len(both), missing, extra)


_RECOGNITION = "### Frame level recognition: ###"  # the first line of what MS-TCN's code writes


def _first(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(200).decode("utf-8", "replace").strip()


def _videos(predictions: Path, truth: Path, background: list[str], pooled: bool) -> _Scores:
    import torch

    from ..tasks.metrics import SegmentationScores

    given, right = _labels(predictions), _labels(truth)
    if len(given) == len(right) == 1 and not (predictions.is_dir() or truth.is_dir()):
        given = dict(zip(right, given.values(), strict=True))  # two files of one video
    both, missing, extra = _matched(given, right, "videos")
    pairs = [_compared(given[name], right[name]) for name in both]
    classes = sorted({label for pair in pairs for labels in pair for label in labels} - {""})
    if unknown := [name for name in background if name not in classes]:
        raise UsageError(f"--background {unknown[0]}: there are the classes {', '.join(classes)}.")
    numbers = {name: number for number, name in enumerate(classes)}
    # a frame without a label is wrong, and its segment none
    shown, left_out = [*classes, "what has no label"], [numbers[name] for name in background]
    if any("" in labels for labels, _ in pairs):
        left_out.append(len(classes))
    metric = SegmentationScores(len(shown), left_out, pooled=pooled)
    for labels, wanted in pairs:
        predicted = torch.tensor([numbers.get(label, len(classes)) for label in labels])
        metric.update(predicted, torch.tensor([numbers.get(label, -100) for label in wanted]))
    names = {"acc": "accuracy", "acc_mean": "mean_accuracy"}
    scores = {names.get(name, name): value for name, value in metric.compute().items()}
    return _Scores(scores, {"segments": metric.settings(shown)}, len(both), missing, extra)


class _FrameNames(NamedTuple):
    """The labels of a video.

    Attributes:
        path: Where they stand.
        names: The class of each frame.
        segments: Whether it is segments that are told: frames at the end may have none.
        rest: The class of all frames behind `names`; empty: none.
    """

    path: Path
    names: list[str]
    segments: bool
    rest: str = ""

    def labels(self, frames: int) -> list[str]:
        return self.names + [self.rest] * (frames - len(self.names))


def _labels(path: Path) -> dict[str, _FrameNames]:
    """Return the labels of videos by their names: those of a file, or of the files of a folder."""
    from ..data.video.annotations.reading import read_annotations
    from ..data.video.annotations.segments import ends_of

    files = [path]
    if path.is_dir():
        known = ("", ".csv", ".txt")
        files = [one for one in sorted(path.iterdir()) if one.suffix.lower() in known]
        files = [one for one in files if one.is_file() and not one.name.startswith(".")]
    if not files:
        raise DataError(f"'{path}' holds no labels: no .csv and no .txt file.")
    tables = [one for one in files if one.suffix.lower() in (".csv", ".tsv")]
    told = [(file, one) for file in tables for one in read_annotations(file)]
    try:
        ends, reason = ends_of([one for _, one in told])
    except DataError as error:  # both occur: no frame can be of two segments
        ends, reason = "excluded", str(error).partition(".\n")[0]
    told = [(file, one.with_ends(ends)) for file, one in told]
    if reason:
        print(
            printable(f"{path}: the last frame of a segment is {ends} ({reason})"), file=sys.stderr
        )
    found: dict[str, _FrameNames] = {}
    lines = [(one.stem, _line_a_frame(one)) for one in files if one not in tables]
    rows = [
        (Path(one.video).stem if one.video else file.stem, _frame_names(file, one))
        for file, one in told
    ]
    for name, labels in lines + rows:
        if name in found:
            raise DataError(f"'{path}' has the labels of '{name}' twice.")
        found[name] = labels
    return found


def _compared(given: _FrameNames, right: _FrameNames) -> tuple[list[str], list[str]]:
    """Return the labels of a video's frames, predicted and true: the names of classes."""
    counts = len(given.names), len(right.names)
    for labels in (given, right):
        if len(labels.names) != max(counts) and not labels.segments:
            raise DataError(
                f"'{given.path}' labels {counts[0]} frames and '{right.path}' {counts[1]}: a label "
                "for each frame is expected in both."
            )
    return given.labels(max(counts)), right.labels(max(counts))


def _frame_names(path: Path, found: Annotation) -> _FrameNames:
    """Return the labels of frames that a table tells."""
    if found.unit != "frames":
        raise DataError(f"'{path}' counts seconds: labels of frames are compared.")
    last = [one for one in found.segments if math.isinf(one.end)]  # a label of a whole video
    if last and len(found.segments) == 1:
        return _FrameNames(path, [], True, last[0].label)
    if last:
        raise DataError(f"'{path}' has a segment without an end: labels of frames are compared.")
    further = int(found.ends == "included")
    names = [""] * int(max((one.end + further for one in found.segments), default=0))
    for one in found.segments:
        start, end = int(one.start), int(one.end) + further
        names[start:end] = [one.label] * (end - start)
    return _FrameNames(path, names, not found.every_frame)


def _line_a_frame(path: Path) -> _FrameNames:
    from ..data.tables import read_lines

    lines = [line.strip() for line in read_lines(path) if line.strip()]
    if lines[:1] == [_RECOGNITION]:
        lines = [name for line in lines[1:] for name in line.split()]
    if not lines:
        raise DataError(f"'{path}' holds no labels.")
    return _FrameNames(path, lines, False)
