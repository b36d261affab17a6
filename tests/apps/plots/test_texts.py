"""Pictures of texts: surprise, neurons, the unrolled network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from unrolled import plots
from unrolled.apps.pictures.concepts import concepts, followers
from unrolled.apps.pictures.letters import lines_of
from unrolled.apps.plots.neurons import _states
from unrolled.apps.plots.unrolled import SIGNS
from unrolled.errors import DataError, UsageError


def texts(figure) -> list[str]:
    return [one.get_text() for one in figure.findobj(Text) if one.get_text()]


def by_steps(model, ids: list[int]) -> torch.Tensor:
    """Log-probabilities (T, V) before each symbol, a step at a time."""
    state, rows = model.core.initial_state(1, dtype=torch.float64), []
    for number in [model.vocabulary.END, *ids[:-1]]:
        logits, state = model.step(torch.tensor([number]), state)
        rows.append(logits[0].log_softmax(-1))
    return torch.stack(rows).detach()


def test_surprise_is_the_models_cross_entropy(characters):
    text = 'ab "(c)".\n é'
    figure = plots.surprise(characters, text)
    ids = characters.vocabulary.encode(text).tolist()
    nats = -by_steps(characters, ids).gather(1, torch.tensor(ids)[:, None])
    mean = float(nats.mean()) / math.log(2)
    assert figure.said[0] == f"{len(text)} characters, {mean:.4f} bits each in the mean"
    assert f"mean {mean:.2f} bits per character" in texts(figure)


def test_a_character_of_several_bytes_is_as_unlikely_as_all_of_them(of_bytes):
    figure = plots.surprise(of_bytes, "é")
    ids = of_bytes.vocabulary.encode("é").tolist()
    nats = -by_steps(of_bytes, ids).gather(1, torch.tensor(ids)[:, None]).sum()
    assert figure.said[0].startswith("1 character, ")
    assert figure.said[1] == f"  'é' at 0: {float(nats) / math.log(2):.2f} bits"


def test_the_text_stands_in_the_picture_with_the_likeliest_below(characters):
    text = "abc\nab"
    figure = plots.surprise(characters, text, top=2)
    ids = characters.vocabulary.encode(text).tolist()
    best = by_steps(characters, ids).topk(2).indices
    below = ["".join(characters.vocabulary.decode([n]) or "■" for n in row) for row in best.T]
    signs = "".join(sign for sign in texts(figure) if len(sign) == 1)
    marks = str.maketrans("\n ", "↵·")
    first, second = (part.translate(marks) for part in ("abc\n", "ab"))
    guesses = [row.translate(marks) for row in below]
    wanted = first + guesses[0][:4] + guesses[1][:4] + second + guesses[0][4:] + guesses[1][4:]
    assert signs.startswith(wanted)


def test_a_text_is_given_by_a_file_as_well(characters, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("abc" * 100)
    monkeypatch.chdir(tmp_path)
    assert plots.surprise(characters, "a.txt").said[0].startswith("160 characters")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match="no text in UTF-8"):
        plots.surprise(characters, tmp_path / "bad.txt")
    with pytest.raises(DataError, match="can't be read"):
        plots.surprise(characters, tmp_path / "none.txt")
    with pytest.raises(UsageError, match="no text to show"):
        plots.surprise(characters, "")
    with pytest.raises(DataError, match=r"The text has 1 character .*'z'"):
        plots.surprise(characters, "az")
    with pytest.raises(UsageError, match="length is 0"):
        plots.surprise(characters, "a", length=0)


def test_lines_end_where_the_text_says_or_when_they_are_full():
    assert lines_of("ab\n\ncdefg", 3) == [(0, 3), (3, 4), (4, 7), (7, 9)]
    assert lines_of("", 3) == []


def test_concepts_of_a_text():
    found = concepts('  a("b\n\n"c' + "(")
    assert found["quotes"].tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1]
    assert found["brackets"].tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1]
    assert found["indentation"].tolist() == [1, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0]
    assert found["line length"].tolist() == [1, 2, 3, 4, 5, 6, 7, 1, 1, 2, 3]


def test_the_unit_that_follows_quotes_is_found():
    text = 'a "bc" d\n' * 30
    activations = np.random.default_rng(0).normal(size=(len(text), 9))
    activations[:, 4] = 3 - 2 * concepts(text)["quotes"]
    activations[:, 7] += concepts(text)["line length"]
    activations[:, 0] = 1.0  # never changes
    found = followers(activations, text, 2)
    assert [(one.concept, one.unit) for one in found[:1]] == [("quotes", 4)]
    assert found[0].score == pytest.approx(-1)
    assert ("line length", 7) in [(one.concept, one.unit) for one in found]
    assert {one.concept for one in found} == {"quotes", "line length"}  # nothing is indented


def test_units_are_the_numbers_of_the_state(characters):
    text = 'ab "(c)".'
    states, names = _states(characters, text)
    assert states.shape == (len(text), 24)
    assert names[6] == "layer 1, cell 0"
    ids = torch.tensor([[0, *characters.vocabulary.encode(text).tolist()]])
    output, _ = characters.read(ids)
    top = names.index("layer 2, hidden 0")
    assert np.allclose(states[:, top : top + 6], output[0, 1:].detach().numpy(), atol=1e-6)


def test_neurons_are_ranked_and_shown(characters):
    text = '  a "b(c)".\n' * 9
    figure = plots.neurons(characters, text, find=True, length=30)
    assert any(line.startswith("quotes ") and " unit " in line for line in figure.said)
    titles = [text for text in texts(figure) if "unit" in text]
    assert [title.partition("  ")[0] for title in titles] == list(concepts(text))
    chosen = plots.neurons(characters, text, units=[3, 8])
    assert chosen.said == ["unit 3: layer 1, hidden 3", "unit 8: layer 1, cell 2"]
    with pytest.raises(UsageError, match="There is no unit 24: they are 0 to 23"):
        plots.neurons(characters, text, units=24)
    with pytest.raises(UsageError, match="Nothing changes"):
        plots.neurons(characters, "a", find=True)


def test_the_unrolled_network_says_what_the_model_says(characters):
    figure = plots.unrolled(characters, "abc")
    output, _ = characters(torch.tensor([characters.vocabulary.encode("ab").tolist()]))
    chances = output[0].softmax(-1).detach()
    targets = characters.vocabulary.encode("bc").tolist()
    both = float(chances[0, targets[0]] * chances[1, targets[1]])
    assert figure.said[0].endswith(f"{both:.2g}")
    shown = texts(figure)
    assert [name for name in shown if name in ("input", "hidden", "output", "target")]
    assert sum("%" in text for text in shown) >= 8
    assert {"above 0", "below 0"} <= set(shown)  # which colour is which
    signs = {text for text in shown if text in SIGNS}  # what no letter is, and its key
    assert signs
    assert {f"{sign} {SIGNS[sign]}" for sign in signs} <= set(shown)
    with pytest.raises(UsageError, match="at least two characters"):
        plots.unrolled(characters, "a")
    long = plots.unrolled(characters, "abc" * 9)
    assert "only the first 13 characters" in long.said[1]


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(UsageError, match="A Linear does not read text by itself"):
        plots.surprise(torch.nn.Linear(2, 2), "a")
