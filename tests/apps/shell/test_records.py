"""Records in four formats: what goes in comes out, also of what has failed."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from unrolled.apps.shell.records import FORMATS, Output, table
from unrolled.apps.shell.sparing import each
from unrolled.errors import DataError, UsageError

COLUMNS = ("id", "text", "list", "number")
ODD = [
    "plain",
    "",
    'a "quote"',
    "a\ttab",
    "a\nline\r\n",
    r"C:\new\table",
    "ü, ẞ 日本 \u2028 \x85",
    ",",
]
RECORDS = [
    {"id": n, "text": text, "list": [n, text], "number": n / 3} for n, text in enumerate(ODD)
]


def read(text: str, format: str) -> list[list]:
    """Rows as a program of others reads them."""
    if format == "json":
        return [[*row] for row in [json.loads(text)[0], *(r.values() for r in json.loads(text))]]
    if format == "jsonl":
        rows = [json.loads(line) for line in text.removesuffix("\n").split("\n")]
        return [[*row] for row in [rows[0], *(row.values() for row in rows)]]
    if format == "csv":
        return list(csv.reader(io.StringIO(text, newline="")))
    undone = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    rows = []
    for line in text.removesuffix("\n").split("\n"):
        fields = []
        for field in line.split("\t"):
            first, *rest = field.split("\\\\")
            parts = [first, *rest]
            for sign in "tnr":
                parts = [part.replace(f"\\{sign}", undone[sign]) for part in parts]
            fields.append("\\".join(parts))
        rows.append(fields)
    return rows


@pytest.mark.parametrize("format", FORMATS)
def test_every_text_comes_back(format):
    head, *rows = read(table(RECORDS, COLUMNS, format), format)
    assert head == [*COLUMNS]
    for record, row in zip(RECORDS, rows, strict=True):
        if format in ("tsv", "csv"):
            row = [int(row[0]), row[1], json.loads(row[2]), float(row[3])]
        assert row == [*record.values()]


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_of_records_is_the_table_of_them(format, tmp_path, capsys):
    for out in (None, str(tmp_path / "records")):
        with Output(COLUMNS[:3], format, out) as output:
            for record in RECORDS:
                output.put({name: record[name] for name in COLUMNS[:2]})
            output.failed({"id": 9}, DataError("is broken"))
        written = Path(out).read_bytes().decode() if out else capsys.readouterr().out
        expected = [{name: r[name] for name in COLUMNS[:2]} for r in RECORDS]
        expected.append({"id": 9, "error": "is broken"})
        assert written == table(expected, (*COLUMNS[:3], "error"), format)
        with pytest.raises(DataError, match=r"1 of 9 lines could not be read; the others are read"):
            output.finish(9, "lines", "read")


def test_nothing_at_all_is_a_file_too(tmp_path):
    for format, expected in {"tsv": "a\terror\n", "csv": "a,error\n", "json": "[]\n"}.items():
        with Output(["a"], None, str(tmp_path / f"x.{format}")):
            pass
        assert (tmp_path / f"x.{format}").read_text() == expected


def test_json_is_whole_where_a_command_breaks_off(tmp_path):
    def break_off():
        with Output(["a"], out=str(tmp_path / "x.json")) as output:
            output.put({"a": math.inf})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    # JSON has no infinity
    assert json.loads((tmp_path / "x.json").read_text()) == [{"a": None, "error": None}]


def test_lines_are_written_where_no_format_is_asked_for(tmp_path, capsys):
    with Output(["a"], out=str(tmp_path / "x.txt")) as output:
        output.put({"a": 1}, ("x", "y"))
        output.failed({"a": 2}, DataError("\x1b[2J is broken"), ("",))
    assert output.lines
    assert (tmp_path / "x.txt").read_text() == "x\ty\n\n"
    assert capsys.readouterr().err == "unrolled: \\x1b[2J is broken\n"


def test_ten_of_many_failures_are_named_and_all_are_counted(capsys):
    with Output(["a"]) as output:
        for number in range(25):
            output.failed({"a": number}, DataError(f"number {number}"))
    assert len(capsys.readouterr().err.splitlines()) == 10
    with pytest.raises(DataError, match=r"^25 of 25 lines could not be read\.\n.*--format tsv"):
        output.finish(25, "lines", "read")


def test_a_file_in_the_wrong_place(tmp_path):
    (tmp_path / "in.tsv").write_text("kept")
    for out, message in {
        str(tmp_path): "is a folder",
        str(tmp_path / "gone/x.tsv"): "there is no folder",
        str(tmp_path / "../" / tmp_path.name / "in.tsv"): "would overwrite",
    }.items():
        with pytest.raises(UsageError, match=message):
            Output(["a"], out=out, inputs=[tmp_path / "in.tsv", "-", tmp_path / "none"])
    assert (tmp_path / "in.tsv").read_text() == "kept"


@pytest.mark.parametrize("bad", [[], [0], [7], [3, 4], range(8)])
def test_what_is_bad_spoils_none_of_the_others(bad):
    def work(numbers):
        if wrong := [number for number in numbers if number in bad]:
            raise DataError(f"{wrong[0]}")
        return [10 * number for number in numbers]

    found = each(work, range(8))
    assert [str(f) if isinstance(f, DataError) else f for f in found] == [
        str(n) if n in bad else 10 * n for n in range(8)
    ]
