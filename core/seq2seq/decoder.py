"""The decoder that captioning and translation share: symbols in and out, attention to a memory, any causal core.

Shapes: B batch, T target steps, S memory steps, E embedding, H core output, M memory features, O
output, V vocabulary; N rows of a search, k of them (its beams) for each row of the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..dropout import LockedDropout
from ..recurrent import CoreFactory
from ..state import State
from .attention import Attention, AttentionFactory, Prepared
from .encoder import Memory
from .sampling import choose


class DecoderState(NamedTuple):
    """What a decoder carries from step to step.

    Attributes:
        core: The core's state.
        feed: The output before (N, O), which is fed back; (N, 0) without input feeding.
    """

    core: State
    feed: Tensor


class Decoded(NamedTuple):
    """What a decoder made of a target.

    Attributes:
        output: (B, T, O); `head` turns it into logits.
        attention: Weights over the memory (B, T, S); (B, T, 0) without attention.
        state: The state after the last step.
    """

    output: Tensor
    attention: Tensor
    state: DecoderState


class Head(nn.Linear):
    """An output layer that a loss can look into without going past it: hooks fire for the loss as for logits."""

    def forward(self, input: Tensor, function: Callable[..., Tensor] = functional.linear) -> Tensor:
        """Applies weight and bias.

        Args:
            input: (..., H).
            function: What is made of input, weight (V, H) and bias (V,): logits (..., V) when not
                given.
        """
        return function(input, self.weight, self.bias)


class SequenceDecoder(nn.Module):
    """A recurrent decoder after Luong et al. 2015 (https://arxiv.org/abs/1508.04025).

    At each step the core reads the embedded symbol (and the output before: input feeding), its
    output h queries the memory, and the output is o = tanh(W_o [context; h]); logits = head(o).
    Before the first step the core reads a projection of the memory's mean: a bridge that fits every
    kind of core and state, as Show and Tell gives its image (Vinyals et al. 2015,
    https://arxiv.org/abs/1411.4555).

    Without input feeding a known target runs through the core in one piece.

    Args:
        embedding: The symbols' vectors; it may be another module's, to share its weights.
        core: Makes the core from its input size; it has to be causal.
        memory_size: M.
        attention: Makes the attention; None: the memory comes in by the bridge alone (Sutskever et
            al. 2014, https://arxiv.org/abs/1409.3215).
        input_feeding: Feed the output back into the core's input.
        bridge: Let the core read the memory's mean first.
        output_size: O; the core's output size when not given, the embedding's with tied weights.
        tie_weights: The head's weights are the embedding's (Press and Wolf 2017,
            https://arxiv.org/abs/1608.05859).
        dropout: Locked dropout of the embedded symbols, of the core's output and of the head's
            input.

    Raises:
        ValueError: The core is not causal, sizes don't allow tied weights, or no way leads from the
            memory.
    """

    def __init__(
        self,
        embedding: nn.Embedding,
        core: CoreFactory,
        *,
        memory_size: int,
        attention: AttentionFactory | None,
        input_feeding: bool = True,
        bridge: bool = True,
        output_size: int | None = None,
        tie_weights: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        size = embedding.embedding_dim
        if attention is None and not bridge:
            raise ValueError(
                "SequenceDecoder: without attention and without a bridge it never sees the memory"
            )
        if tie_weights and output_size not in (None, size):
            raise ValueError(
                f"SequenceDecoder: tie_weights needs an output of the embedding's size {size}, not {output_size}"
            )
        # The core's output size is known once it is made, and what it reads depends on the output's
        # size.
        known = size if tie_weights else output_size
        if known is None:
            known = core(size).output_size
        self.embedding = embedding
        self.core = core(size + known if input_feeding else size)
        if not self.core.causal:
            raise ValueError(
                f"{type(self.core).__name__} is not causal: a decoder must not see the symbols that it predicts; take "
                "a core that reads forwards only"
            )
        self.output_size = known
        self.input_feeding = input_feeding
        self.attention: Attention | None = (
            attention(self.core.output_size, memory_size) if attention else None
        )
        self.bridge = nn.Linear(memory_size, self.core.input_size) if bridge else None
        self.combine = nn.Linear(self.core.output_size + (memory_size if attention else 0), known)
        self.head = Head(known, embedding.num_embeddings)
        if tie_weights:
            self.head.weight = embedding.weight
        self.dropout = LockedDropout(dropout)

    def prepare(self, memory: Memory) -> State:
        """Do once for a memory what every step needs of it.

        Args:
            memory: What the encoder found.

        Returns:
            A state with B rows, for `step` and `forward`: projected keys and values, or () without
            attention.
        """
        return () if self.attention is None else self.attention.prepare(memory)

    def initial_state(self, memory: Memory) -> DecoderState:
        """The state before the first symbol.

        Args:
            memory: What the encoder found.
        """
        output = memory.output
        rows = output.shape[0]
        feed = output.new_zeros(rows, self.output_size if self.input_feeding else 0)
        state = self.core.initial_state(
            rows, device=output.device, dtype=torch.promote_types(output.dtype, torch.float32)
        )
        if self.bridge is not None:
            # The mean over the valid vectors; what lies past the lengths does not count, and none
            # at all is zero.
            valid = memory.valid().unsqueeze(2)
            mean = output.masked_fill(~valid, 0.0).sum(1) / valid.sum(1).clamp(min=1)
            _, state = self.core.step(torch.tanh(self.bridge(mean)), state)
        return DecoderState(state, feed)

    def forward(
        self, tokens: Tensor, prepared: State, state: DecoderState, *, sampling: float = 0.0
    ) -> Decoded:
        """Read a known target (teacher forcing).

        Args:
            tokens: What comes before each symbol to predict (B, T) int64.
            prepared: What `prepare` returned.
            state: The state before the first step.
            sampling: Probability that a symbol is replaced by one drawn from the decoder's own
                prediction of it (scheduled sampling, Bengio et al. 2015,
                https://arxiv.org/abs/1506.03099).

        Returns:
            Outputs, attention weights and the final state.
        """
        if not self.input_feeding and not sampling:
            return self._whole(tokens, prepared, state)
        core, feed = state
        embedded = self.embedding(tokens)  # (B, T, E)
        # of drawn symbols as well
        mask = self.dropout(embedded.new_ones(tokens.shape[0], 1, embedded.shape[2]))
        kept = (
            self.dropout(embedded.new_ones(tokens.shape[0], 1, self.core.output_size))
            if self.training
            else None
        )
        own = torch.rand(tokens.shape, device=tokens.device) < sampling if sampling else None
        outputs: list[Tensor] = []
        weights: list[Tensor] = []
        for t, x in enumerate((embedded * mask).unbind(1)):
            if own is not None and outputs:
                with torch.no_grad():
                    drawn = choose(self.head(outputs[-1]))
                x = torch.where(own[:, t, None], self.embedding(drawn) * mask[:, 0], x)
            output, core = self.core.step(
                torch.cat((x, feed), 1) if self.input_feeding else x, core
            )
            output = output.unsqueeze(1)
            read, seen = self._read(output if kept is None else output * kept, prepared)
            outputs.append(read.squeeze(1))
            weights.append(seen)
            if self.input_feeding:
                feed = outputs[-1]
        if not outputs:
            return self._whole(tokens, prepared, state)
        return Decoded(
            self.dropout(torch.stack(outputs, 1)), torch.cat(weights, 1), DecoderState(core, feed)
        )

    def _whole(self, tokens: Tensor, prepared: State, state: DecoderState) -> Decoded:
        x = self.dropout(self.embedding(tokens))
        if self.input_feeding:  # there is no step, but a graph
            x = torch.cat((x, state.feed.unsqueeze(1).expand(-1, x.shape[1], -1)), 2)
        output, core = self.core(x, state.core)
        read, weights = self._read(self.dropout(output), prepared)
        return Decoded(self.dropout(read), weights, DecoderState(core, state.feed))

    def _read(self, output: Tensor, prepared: State) -> tuple[Tensor, Tensor]:
        """tanh(W_o [context; h]) (B, T, O) from the core's outputs (B, T, H), and the weights."""
        if self.attention is None:
            return torch.tanh(self.combine(output)), output.new_zeros(*output.shape[:2], 0)
        context, weights = self.attention(output, prepared)
        return torch.tanh(self.combine(torch.cat((context, output), 2))), weights

    def step(
        self, tokens: Tensor, state: DecoderState, prepared: State
    ) -> tuple[Tensor, DecoderState]:
        """Predict the next symbol after one symbol.

        Args:
            tokens: (N,) int64.
            state: The state before them, N rows.
            prepared: What `prepare` returned, N / k rows: rows i k to i k + k - 1 read row i of it.

        Returns:
            Logits (N, V) and the state after them.
        """
        return self._step(tokens, state, prepared, self.core.step)

    def stepper(self) -> Callable[[Tensor, DecoderState, State], tuple[Tensor, DecoderState]]:
        """Makes `step` ready for many calls without gradients; see `RecurrentCore.stepper`."""
        run = self.core.stepper()
        return lambda tokens, state, prepared: self._step(tokens, state, prepared, run)

    def _step(
        self,
        tokens: Tensor,
        state: DecoderState,
        prepared: State,
        run: Callable[[Tensor, State], tuple[Tensor, State]],
    ) -> tuple[Tensor, DecoderState]:
        x = self.embedding(tokens)
        output, core = run(torch.cat((x, state.feed), 1) if self.input_feeding else x, state.core)
        rows = prepared.values.shape[0] if isinstance(prepared, Prepared) else tokens.shape[0]
        # (N, H) -> (N / k, k, H); with no rows any k will do
        read, _ = self._read(
            output.view(rows, output.shape[0] // max(rows, 1), output.shape[1]), prepared
        )
        read = read.flatten(0, 1)
        return self.head(read), DecoderState(core, read if self.input_feeding else state.feed)
