"""Labels as ELAN writes them: its own XML (.eaf) and its tab-delimited export.

Wittenburg et al. 2006; the format is https://www.mpi.nl/tools/elan/EAF_Annotation_Format.pdf.
Times are milliseconds in the XML; here they are seconds.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from ....errors import DataError, quoted
from ...formats.xml import read_tree
from .segments import Annotation, LabelSegment
from .tables import Rows, is_time, time_of

_DEPTH = 50  # of annotations that refer to others


def read_eaf(path: Path) -> Annotation:
    """Return what the tiers of an .eaf file say.

    Args:
        path: The file.

    Raises:
        DataError: It is damaged, is no such file, or declares entities, which could be a bomb.
    """
    if not path.exists():
        raise DataError(f"There is no file of labels '{path}'.")
    root = read_tree(path, f"'{path}'")
    if root.tag != "ANNOTATION_DOCUMENT":
        raise DataError(
            f"'{path}' is no .eaf of ELAN: it begins with <{quoted(root.tag)}>, not "
            "<ANNOTATION_DOCUMENT>."
        )
    times: dict[str, float] = {}
    for slot in root.iter("TIME_SLOT"):
        if (value := slot.get("TIME_VALUE")) is not None:
            try:
                times[slot.get("TIME_SLOT_ID", "")] = int(value) / 1000
            except (ValueError, OverflowError):
                raise DataError(f"'{path}': a time slot has the time {quoted(value)}.") from None
    aligned: dict[str, tuple[float, float]] = {}
    refers: dict[str, str] = {}
    said: list[tuple[str, str, str]] = []  # identifier, tier, label
    for tier in root.iter("TIER"):
        name = tier.get("TIER_ID", "")
        for each in tier.iter():
            if each.tag not in ("ALIGNABLE_ANNOTATION", "REF_ANNOTATION"):
                continue
            own = each.get("ANNOTATION_ID", "")
            label = (each.findtext("ANNOTATION_VALUE") or "").strip()
            said.append((own, name, label))
            if each.tag == "REF_ANNOTATION":
                refers[own] = each.get("ANNOTATION_REF", "")
                continue
            slots = [each.get(f"TIME_SLOT_REF{number}", "") for number in (1, 2)]
            if any(slot not in times for slot in slots):
                raise DataError(
                    f"'{path}', tier {quoted(name)}: the annotation {quoted(label or own)} has no "
                    "time; align it in ELAN."
                )
            aligned[own] = (times[slots[0]], times[slots[1]])
    segments = []
    for own, name, label in said:
        parent, depth = own, 0
        while parent in refers and depth < _DEPTH:
            parent, depth = refers[parent], depth + 1
        if parent not in aligned:
            raise DataError(f"'{path}', tier {quoted(name)}: {quoted(label or own)} has no time.")
        start, end = aligned[parent]
        if end > start and label:
            segments.append(LabelSegment(start, end, label, tier=name))
    if not segments:
        raise DataError(f"'{path}' holds no annotations with a text.")
    media = root.find(".//MEDIA_DESCRIPTOR")
    video = "" if media is None else unquote(media.get("MEDIA_URL", ""))  # file:///C:/a%20b.mp4
    return Annotation(path, "ELAN", "seconds", sorted(segments), video=video)


def is_elan(rows: Rows) -> bool:
    """Say whether a table is ELAN's tab-delimited export, with or without its header.

    Args:
        rows: The rows.
    """
    if not rows:
        return False
    first = [name.lower() for name in rows[0][1]]
    return any(name.startswith("begin time") for name in first) or bool(_bare(rows))


def _bare(rows: Rows) -> list[int]:
    """Return where begin and end are in an export without a header, in seconds; nothing if not so.

    It is tier, participant, begin, end, duration (each in the formats that were chosen), text.
    """
    row = rows[0][1]
    if len(row) < 5:
        return []
    by_form: dict[str, list[int]] = {}
    for place, value in enumerate(row):
        form = "clock" if ":" in value else "decimal" if "." in value else "whole"
        try:
            time_of(value)
        except ValueError:
            continue
        by_form.setdefault(form, []).append(place)
    for form in ("decimal", "clock", "whole"):
        places = by_form.get(form, [])
        if len(places) != 3:
            continue
        begin, end, duration = (time_of(row[place]) for place in places)
        if abs(begin + duration - end) < 2e-3 * (1000 if form == "whole" else 1):
            return places[:2]
    return []


def read_export(path: Path, rows: Rows) -> Annotation:
    """Return what a tab-delimited export says.

    Args:
        path: The file.
        rows: Its rows.

    Raises:
        DataError: A row has no times, or the columns are not there.
    """
    header = [name.lower() for name in rows[0][1]]
    if any(name.startswith("begin time") for name in header):
        found = {}
        for role in ("begin time", "end time"):
            # the finest of those that were exported
            for form in ("ss.msec", "msec", "hh:mm:ss.ms", ""):
                if names := [
                    n
                    for n, name in enumerate(header)
                    if name.startswith(role) and name.endswith(form)
                ]:
                    found[role] = (names[0], form)
                    break
        if len(found) < 2:
            raise DataError(f"'{path}' has no End Time: export begin and end of annotations.")
        places = [found["begin time"][0], found["end time"][0]]
        unit = "milliseconds" if found["begin time"][1] == "msec" else ""
        tier = header.index("tier") if "tier" in header else 0
        skipped = {"tier", "participant"}
        label = (
            header.index("annotation")
            if "annotation" in header
            else next(
                (
                    n
                    for n in reversed(range(len(header)))
                    if header[n] not in skipped
                    and "time" not in header[n]
                    and header[n] != "duration"
                ),
                len(header) - 1,
            )
        )
        body = rows[1:]
    else:
        places, tier, body = _bare(rows), 0, rows
        unit = "milliseconds" if "." not in rows[0][1][places[0]] else ""
        words = (n for n, value in enumerate(rows[0][1]) if value and not is_time(value))
        label = max(words, default=len(rows[0][1]) - 1)
    segments = []
    for line, row in body:
        try:
            start, end = (time_of(row[place], unit) for place in places)
        except (ValueError, IndexError):
            raise DataError(
                f"'{path}', line {line}: expected begin and end, got {quoted(','.join(row), 80)}."
            ) from None
        text = row[label] if label < len(row) else ""
        if text and end > start:
            segments.append(LabelSegment(start, end, text, line, row[tier]))
    if not segments:
        raise DataError(f"'{path}' holds no annotations with a text.")
    return Annotation(path, "ELAN, exported", "seconds", sorted(segments))
