"""Drawing what comes next, one token at a time, from any step.

Shapes: B batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..checks import describe
from ..state import State

Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""(tokens (B,), state) -> (logits (B, V), state)."""


def choose(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one token a row.

    The filters act on the distribution at the given temperature, one after the other: top-k (Fan et
    al. 2018, https://arxiv.org/abs/1805.04833), top-p (Holtzman et al. 2020,
    https://arxiv.org/abs/1904.09751), min-p (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082).

    Args:
        logits: Unnormalised log-probabilities (B, V); minus infinity forbids a token.
        temperature: Divides the logits; 0 takes the most probable token.
        top_k: Keep this many of the most probable tokens.
        top_p: Keep the smallest set of most probable tokens whose probabilities reach this sum.
        min_p: Keep tokens of at least this fraction of the most probable token's probability.
        generator: Where the random numbers come from.

    Returns:
        Tokens (B,) int64.

    Raises:
        ValueError: A setting is out of its range.
    """
    check_sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    if logits.dim() != 2 or not logits.is_floating_point():
        raise ValueError(
            f"logits is {describe(logits)}; it must be a float tensor (B, V), one row for each "
            "token drawn"
        )
    if temperature == 0:
        return logits.argmax(-1)  # (B,)
    logits = logits.float()  # (B, V)
    if temperature != 1:
        logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[:, -1:]  # (B, 1)
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None:
        ordered, order = logits.softmax(-1).sort(descending=True)  # (B, V)
        # the mass before a token already reaches top_p
        beyond = ordered.cumsum(-1) - ordered >= top_p
        logits = logits.masked_fill(beyond.gather(-1, order.argsort(-1)), -torch.inf)
    probabilities = logits.softmax(-1)
    if min_p is not None:
        most = probabilities.amax(-1, keepdim=True)  # (B, 1)
        probabilities = probabilities * (probabilities >= min_p * most)
    # The largest p / e, e exponential, is drawn with probability p: one pass, and no check that
    # needs the host.
    noise = torch.empty_like(probabilities).exponential_(generator=generator)
    noise.clamp_(min=torch.finfo(noise.dtype).tiny)  # 0 / 0 would be the largest of all
    return (probabilities / noise).argmax(-1)  # (B,)


def check_sampling(
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> None:
    """Refuse settings of `choose` that are out of their range.

    Args:
        temperature: At least 0.
        top_k: At least 1.
        top_p: Above 0, at most 1.
        min_p: At least 0, at most 1.

    Raises:
        ValueError: Names the setting and its range.
    """
    if not temperature >= 0:
        raise ValueError(
            f"temperature={temperature}: must be at least 0 (0 takes the most probable token)"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k={top_k}: must be at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p}: must be above 0 and at most 1")
    if min_p is not None and not 0 <= min_p <= 1:
        raise ValueError(f"min_p={min_p}: must be between 0 and 1")


def sample(
    step: Step,
    logits: Tensor,
    state: State,
    *,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Draw tokens one after the other, each from the distribution after those before it.

    Args:
        step: What follows a token.
        logits: The first token's logits (B, V).
        state: The state they came with.
        length: How many tokens to draw for each row.
        temperature: See `choose`, also for the rest.
        top_k: See `choose`.
        top_p: See `choose`.
        min_p: See `choose`.
        generator: See `choose`.

    Yields:
        Tokens (B,) int64, `length` times.
    """
    for position in range(length):
        tokens = choose(
            logits,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            generator=generator,
        )
        yield tokens
        if position + 1 < length:
            logits, state = step(tokens, state)
