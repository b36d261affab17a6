from __future__ import annotations

import pytest
import torch
from unrolled.core.seq2seq.sampling import choose, sample


def frequencies(probabilities: list[float], draws: int = 20_000, **settings) -> torch.Tensor:
    logits = torch.tensor([probabilities]).log().expand(draws, -1)
    tokens = choose(logits, generator=torch.Generator().manual_seed(0), **settings)
    return torch.bincount(tokens, minlength=len(probabilities)) / draws


def test_draws_follow_the_distribution():
    torch.testing.assert_close(
        frequencies([0.5, 0.3, 0.2]), torch.tensor([0.5, 0.3, 0.2]), atol=0.015, rtol=0
    )


def test_temperature_sharpens():
    expected = torch.tensor([0.25, 0.09, 0.04]) / 0.38  # squares, normalised
    torch.testing.assert_close(
        frequencies([0.5, 0.3, 0.2], temperature=0.5), expected, atol=0.015, rtol=0
    )
    assert frequencies([0.5, 0.3, 0.2], temperature=0).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_k": 2}, [1, 3]),
        ({"top_k": 9}, [0, 1, 2, 3]),
        ({"top_p": 0.4}, [3]),  # the first token reaches it alone
        ({"top_p": 0.41}, [1, 3]),
        ({"top_p": 1.0}, [0, 1, 2, 3]),
        ({"min_p": 0.5}, [0, 1, 3]),
        ({"min_p": 1.0}, [3]),
        ({"top_k": 3, "min_p": 0.6}, [1, 3]),
    ],
)
def test_filters_keep_the_tokens_that_they_should(settings, kept):
    found = frequencies([0.21, 0.29, 0.1, 0.4], **settings)
    assert found.nonzero().flatten().tolist() == kept
    expected = torch.tensor([0.21, 0.29, 0.1, 0.4])[kept]
    torch.testing.assert_close(found[kept], expected / expected.sum(), atol=0.015, rtol=0)


def test_a_forbidden_token_is_never_drawn():
    logits = torch.tensor([[0.0, -torch.inf, 0.0]]).expand(5000, -1)
    assert not (choose(logits) == 1).any()


def test_sampling_feeds_every_token_back():
    def step(tokens, state):  # the token after t is t + 1 for certain
        following = (tokens + 1) % 5
        return torch.nn.functional.one_hot(following, 5) * 1e4, state + 1

    first = torch.nn.functional.one_hot(torch.tensor([3, 0]), 5) * 1e4
    drawn = torch.stack(list(sample(step, first, torch.zeros(2), length=4)), 1)
    assert drawn.tolist() == [[3, 4, 0, 1], [0, 1, 2, 3]]
