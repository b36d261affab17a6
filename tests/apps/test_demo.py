"""What `unrolled demo` says where it can't serve; the page itself: test_demo_page.py."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from unrolled.cli import main


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "Missing: checkpoints"),
        (["nothing.ckpt"], 3, "There is no checkpoint 'nothing.ckpt'"),
        (["runs/char_lm/a", "--port", "0"], 2, "--port 0"),
        (["runs/char_lm/a", "--port", "70000"], 2, "--port 70000"),
        (["runs/char_lm/a", "--queue", "0"], 2, "--queue 0"),
        (["runs/char_lm/a", "--prot", "80"], 2, "'--port'"),
    ],
)
def test_wrong_words_are_answered_before_anything_heavy_is_opened(here, capsys, words, code, said):
    assert main(["demo", *words]) == code
    assert said in capsys.readouterr().err
    assert "gradio" not in sys.modules


def test_without_gradio_the_pip_line_is_told(here, capsys):
    if importlib.util.find_spec("gradio"):
        pytest.skip("gradio is installed")
    assert main(["demo", "runs/char_lm/a"]) == 4
    assert "pip install -e '.[demo]'" in capsys.readouterr().err
