"""What files say never reaches a terminal raw; into a file or a pipe it goes as it is."""

from __future__ import annotations

import pytest
from unrolled.errors import one_line

HOSTILE = "\x1b]0;title\x07a\nb\x9b2J\r\x85ä"


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_printed_is_one_printable_line_on_a_terminal(monkeypatch, terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    text = one_line(HOSTILE)
    assert (text == HOSTILE) is not terminal
    if terminal:
        assert text.isprintable()
        assert text.endswith("ä")
