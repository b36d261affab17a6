"""Long lists in messages are cut, and nothing of them is lost."""

from __future__ import annotations

from pathlib import Path

from unrolled.data.formats.listing import listing


def test_ten_are_shown_and_a_file_has_all(tmp_path):
    lines = [f"image {number}" for number in range(7805)]
    assert listing(lines[:10], tmp_path).splitlines() == [f"  {line}" for line in lines[:10]]
    told = listing(lines, tmp_path).splitlines()
    assert told[:-1] == [f"  {line}" for line in lines[:10]]
    said, _, path = told[-1].rpartition(" in ")
    assert said == "  and 7,795 more, all of them"
    assert Path(path).read_text(encoding="utf-8").splitlines() == lines
    assert listing(lines, tmp_path).splitlines() == told
