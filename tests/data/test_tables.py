"""Text files line by line, and the tables in them."""

from __future__ import annotations

import csv
import time

import pytest
from unrolled.data.tables import csv_rows, json_rows, lines, read_lines
from unrolled.errors import DataError


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_lines_do_not_depend_on_the_blocks(size):
    text = "eins\n\nzwei\r\nÄ\u2028drei\n"
    data = text.encode()
    blocks = [data[first : first + size] for first in range(0, len(data), size)]
    assert list(lines(blocks, "text")) == ["eins", "", "zwei", "Ä\u2028drei"]


def test_a_line_of_many_blocks_takes_no_quadratic_time():
    begin = time.process_time()
    (line,) = lines((b"a" * 1000 for _ in range(20_000)), "text")
    assert len(line) == 20_000_000
    assert time.process_time() - begin < 5  # a hundredth of it is needed


def test_lines_of_a_file_are_those_of_any_system(tmp_path):
    path = tmp_path / "a.txt"
    for content in ("\ufeffone\ntwo\n", "one\r\ntwo", "one\rtwo\r"):
        path.write_text(content, encoding="utf-8", newline="")
        assert read_lines(path) == ["one", "two"]
    path.write_text("a\u2028b", encoding="utf-8")
    assert read_lines(path) == ["a\u2028b"]


def test_a_file_that_can_not_be_read(tmp_path):
    with pytest.raises(DataError, match=r"a.txt' does not exist"):
        read_lines(tmp_path / "a.txt")
    with pytest.raises(DataError, match="There is no list"):
        read_lines(tmp_path / "a.txt", missing="There is no list.")
    with pytest.raises(DataError, match="can't be read: Is a directory"):
        read_lines(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"abc\xff")
    with pytest.raises(DataError, match="is not UTF-8: invalid start byte at byte 3"):
        read_lines(tmp_path / "a.txt")


def test_a_row_of_csv_may_have_several_lines_and_is_known_by_its_last():
    text = ["a,b", '"one', 'two",3', "", "4,5"]
    rows = [(1, ["a", "b"]), (3, ["one\ntwo", "3"]), (4, []), (5, ["4", "5"])]
    assert list(csv_rows(text, "text")) == rows


def test_a_quote_that_is_not_closed_is_found_by_the_size_of_what_it_takes_in():
    csv.field_size_limit(1 << 30)  # as another reader leaves it
    text = ["a,b", '1,"2', *["3,4"] * 100]
    with pytest.raises(DataError, match=r"text, line \d+: expected a row of CSV .* not closed"):
        list(csv_rows(text, "text", longest=100))
    with pytest.raises(DataError, match="text, line 102: expected a row of CSV"):
        list(csv_rows(text, "text", strict=True))


def test_what_lines_of_json_hold():
    text = ['{"a": 1}', " ", "null", "[2"]
    rows = json_rows(text, "text")
    found = [next(rows) for _ in range(3)]
    assert found == [(1, text[0], {"a": 1}), (2, " ", None), (3, "null", None)]
    with pytest.raises(DataError, match="text, line 4 is no JSON"):
        next(rows)
