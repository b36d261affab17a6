"""The examples of docs/torchtext.md."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "torchtext.md"


def test_the_page_is_true(capsys):
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["[1, 0, 3, 6]", "['<pad>', '<s>', '</s>', '<unk>', '!', '.']"]
