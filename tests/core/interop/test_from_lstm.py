"""What docs/from_lstm.md shows runs, and its recipes learn what they are to learn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

PAGE = (Path(__file__).resolve().parents[3] / "docs/from_lstm.md").read_text(encoding="utf-8")
BLOCKS = {
    section.partition("\n")[0]: re.findall(r"^```python\n(.*?)^```", section, re.M | re.DOTALL)
    for section in re.split(r"^##? ", PAGE, flags=re.MULTILINE)[1:]
}


def run(heading: str) -> dict[str, Any]:
    """Run the block below a heading, and return its names."""
    (block,) = BLOCKS[heading]
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(block, heading, "exec"), names)
    return names


def test_every_block_has_a_test():
    assert set(BLOCKS) == {
        "From nn.LSTM",
        "An agent with episode resets",
        "A BiLSTM tagger",
        "A speech encoder",
        "A forecaster",
        "Packed sequences",
    }
    assert all(len(blocks) == 1 for blocks in BLOCKS.values())


def test_weights_and_states():
    names = run("From nn.LSTM")
    for name, value in names["module"].state_dict().items():
        assert torch.equal(names["again"].state_dict()[name], value)


def test_an_agent_remembers_within_its_episode_alone():
    names = run("An agent with episode resets")
    rewards = names["rewards"]
    assert sum(rewards[:5]) / 5 < 0.65
    assert sum(rewards[-10:]) / 10 > 0.95
    # the last rollout, with the weights of now, in steps and at once
    agent, state, x, began = (names[name] for name in ("agent", "before", "x", "began"))
    with torch.no_grad():
        logits, _, _ = agent(x, state, began)
        for t in range(x.shape[1]):
            one, _, state = agent(x[:, t : t + 1], state, began[:, t : t + 1])
            torch.testing.assert_close(one[:, 0], logits[:, t], atol=1e-5, rtol=1e-5)
        x[:, 0] = torch.where(began[:, 1:2], torch.nan, x[:, 0])  # what the next episode sees not
        again, _, _ = agent(x, names["before"], began)
    rows = began[:, 1]
    torch.testing.assert_close(again[rows, 1:], logits[rows, 1:], atol=1e-5, rtol=1e-5)


def test_a_tagger_sees_both_sides():
    assert run("A BiLSTM tagger")["accuracy"] > 0.99


def test_a_speech_encoder_hears():
    assert run("A speech encoder")["right"] > 0.9


def test_a_forecaster_goes_on():
    names = run("A forecaster")
    assert names["error"] < names["naive"] / 3


def test_packed_sequences():
    names = run("Packed sequences")
    assert torch.equal(names["again"].batch_sizes, names["packed"].batch_sizes)
