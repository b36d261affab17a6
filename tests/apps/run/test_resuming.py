"""What a resumed run goes on with."""

from __future__ import annotations

import random

import numpy as np
import torch
from unrolled.apps.run.resuming import random_state, set_random_state


def test_random_numbers_go_on_where_they_were(tmp_path):
    def draw():
        return [
            random.random(),
            np.random.rand(),
            torch.rand(()).item(),
            random.gauss(0, 1),
            np.random.randn(),
        ]

    draw()
    torch.save(random_state(), tmp_path / "state")
    expected = [draw(), draw()]
    set_random_state(torch.load(tmp_path / "state", weights_only=True))
    assert [draw(), draw()] == expected
