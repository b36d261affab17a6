"""Self-critical training: a caption is as good as its CIDEr-D beside others of the same image.

Shapes: N images, k captions drawn of each, B = N k captions, T steps, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ...core.masks import valid_steps
from ..metrics import CiderD

# Counted as a word, the end has its part in the reward: captions that break off ("a man on a")
# score higher otherwise.
_END = "endofcaption"


class Reward:
    """CIDEr-D, with the document frequencies of the training references.

    Args:
        references: The references of each training image.
    """

    def __init__(self, references: Iterable[Sequence[str]]) -> None:
        self._scorer = CiderD.from_references(
            [[f"{text} {_END}" for text in texts] for texts in references]
        )

    def __call__(
        self, captions: Sequence[str], finished: Sequence[bool], references: Sequence[Sequence[str]]
    ) -> list[float]:
        """Score captions.

        Args:
            captions: Captions.
            finished: Whether each came to its end.
            references: The references of each caption's image.
        """
        ended = [
            f"{text} {_END}" if whole else text
            for text, whole in zip(captions, finished, strict=True)
        ]
        return self._scorer.scores(
            ended, [[f"{text} {_END}" for text in texts] for texts in references]
        )


def advantages(rewards: Tensor) -> Tensor:
    """Return how much better each caption is than the mean of the others of its image.

    Luo 2020 (https://arxiv.org/abs/2003.09971): a baseline without bias, for no further decoding.

    Args:
        rewards: (N, k), k at least 2.

    Returns:
        (N, k).
    """
    others = (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)  # (N, k)
    return rewards - others  # (N, k)


def policy_loss(logits: Tensor, caption: Tensor, lengths: Tensor, advantage: Tensor) -> Tensor:
    """Return REINFORCE's loss: the words' negative log-probabilities times the advantages.

    Args:
        logits: (B, T, V).
        caption: The words drawn (B, T) int64, with the end symbol where there is one.
        lengths: Words of each row (B,) int64, on the CPU.
        advantage: Of each row (B,).

    Returns:
        The sum over words.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    likely = wide.log_softmax(2).gather(2, caption.unsqueeze(2)).squeeze(2)  # (B, T)
    valid = valid_steps(lengths, caption.shape[1]).to(likely.device, non_blocking=True)
    return -(likely.masked_fill(~valid, 0.0).sum(1) * advantage.to(likely.dtype)).sum()
