"""How far cores remember."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from app_models import save
from unrolled import plots
from unrolled.apps.plots.memory import gradient_norms, steppable
from unrolled.core import GRU, LSTM, Bidirectional, RecurrentCore, discover_cores
from unrolled.core.state import HiddenState
from unrolled.errors import UsageError
from unrolled.tasks import CharLM


class Decay(RecurrentCore):
    """h' = h / 2 + x."""

    def step(self, x, state):
        hidden = state.hidden / 2 + x
        return hidden, HiddenState(hidden)


def test_the_norms_are_those_of_the_formula():
    found = gradient_norms(Decay(3, 3), torch.randn(4, 9, 3, dtype=torch.float64))
    assert np.allclose(found, 0.5 ** np.arange(9))


def test_the_gradient_is_that_of_autograd_on_the_whole_sequence():
    """dL/dh at the state before the sequence, as the core's own way through it gives it."""
    torch.manual_seed(1)
    core, x = GRU(3, 5).double(), torch.randn(1, 6, 3, dtype=torch.float64)
    torch.manual_seed(2)
    found = gradient_norms(core, x)
    torch.manual_seed(2)
    probe = torch.randn(5, dtype=torch.float64)
    norms = []
    for cut in range(6):
        _, state = core(x[:, : cut + 1])
        begin = state.hidden.detach().requires_grad_()
        output = core(x[:, cut + 1 :], HiddenState(begin))[0][:, -1] if cut < 5 else begin
        norms.insert(0, float(torch.autograd.grad((output @ probe).sum(), begin)[0].norm()))
    assert np.allclose(found, np.array(norms) / norms[0])


@pytest.mark.parametrize("name", sorted(discover_cores()))
def test_every_core_has_a_line(name):
    if name in ("Bidirectional", "Stacked", "WeightDrop", "Zoneout"):
        pytest.skip("made of other cores")
    figure = plots.memory(name, steps=5, hidden_size=8, input_size=4)
    assert figure.said[0].startswith(f"{name}: ")
    line = figure.axes[0].lines[0].get_ydata()
    assert line[0] == pytest.approx(1)
    assert np.isfinite(line).all()


def test_the_legend_lies_in_the_picture(tmp_path):
    """Runs are called as they are elsewhere: a picture is shown to others."""
    folder = tmp_path / "a long name of a run"
    folder.mkdir()
    spec = {"vocabulary": {"kind": "characters", "symbols": "abc "}}
    save(CharLM(spec, partial(LSTM, hidden_size=4)), folder / "lm.ckpt")
    figure = plots.memory("RNN", "GRU", "LSTM", folder / "lm.ckpt", steps=5, hidden_size=8)
    figure.canvas.draw()
    box, width = figure.legends[0].get_window_extent(), figure.bbox.width
    assert box.x0 >= 0
    assert box.x1 <= width
    named = figure.legends[0].get_texts()[-1].get_text()
    assert named.startswith(f"{folder.name}/lm.ckpt (")
    assert str(folder.parent) not in named


def test_models_and_fresh_cores_side_by_side(characters):
    core = LSTM(4, 3)
    before = torch.random.get_rng_state()
    figure = plots.memory("LSTM", characters, core, steps=7, hidden_size=8)
    assert [line.partition(":")[0] for line in figure.said] == [
        "LSTM",
        "CharModel (Stacked)",
        "LSTM",
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    again = plots.memory("LSTM", characters, core, steps=7, hidden_size=8)
    assert again.said == figure.said


def test_of_a_core_that_reads_both_ways_the_one_that_reads_forwards():
    core = Bidirectional(3, partial(GRU, hidden_size=4))
    assert steppable(core) is core.ahead


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        (["LSMT"], "There is no core 'LSMT', and no file. Did you mean 'LSTM'?"),
        ([], "Whose memory"),
        ([torch.nn.Linear(2, 2)], "A Linear has no recurrent core"),
    ],
)
def test_mistakes(what, answer):
    with pytest.raises(UsageError) as error:
        plots.memory(*what)
    assert answer in str(error.value)
