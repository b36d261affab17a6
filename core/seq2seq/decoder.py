"""The decoder that captioning and translation share: symbols in and out, attention to a memory.

Shapes: B batch, T target steps, S memory steps, E embedding, H core output, M memory features, O
output, V vocabulary; N rows of a search, k of them (its beams) for each row of the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..dropout import LockedDropout
from ..products import layer, product
from ..recurrent import CoreFactory
from ..state import State
from .attention import Attend, Attention, AttentionFactory, Prepared
from .encoder import Memory
from .sampling import choose
from .shortlist import Allowed


class DecoderState(NamedTuple):
    """What a decoder carries from step to step.

    Attributes:
        core: The core's state.
        feed: The output before (N, O), which is fed back; (N, 0) without input feeding.

    Example:
        >>> import torch
        >>> from unrolled.core.state import select_rows
        >>> state = DecoderState(core=torch.zeros(2, 8), feed=torch.zeros(2, 4))
        >>> select_rows(state, torch.tensor([0, 0, 1])).feed.shape
        torch.Size([3, 4])
    """

    core: State
    feed: Tensor


class Decoded(NamedTuple):
    """What a decoder made of a target.

    Attributes:
        output: (B, T, O); `head` turns it into logits.
        attention: Weights over the memory (B, T, S); (B, T, 0) without attention.
        state: The state after the last step.

    Example:
        >>> import torch
        >>> state = DecoderState(torch.zeros(2, 8), torch.zeros(2, 4))
        >>> decoded = Decoded(torch.zeros(2, 5, 4), torch.zeros(2, 5, 7), state)
        >>> decoded.attention.argmax(2).shape  # what each step looked at
        torch.Size([2, 5])
    """

    output: Tensor
    attention: Tensor
    state: DecoderState


class Head(nn.Linear):
    """An output layer that a loss can look into: hooks fire for the loss as for logits.

    Example:
        >>> import torch
        >>> head = Head(4, 9)
        >>> head(torch.randn(2, 5, 4)).shape
        torch.Size([2, 5, 9])
        >>> head(torch.randn(2, 5, 4), lambda output, weight, bias: weight.shape)
        torch.Size([9, 4])
    """

    def forward(self, input: Tensor, function: Callable[..., Tensor] = functional.linear) -> Tensor:
        """Apply weight and bias.

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

    Example:
        >>> import torch
        >>> from unrolled.core import GRU, AdditiveAttention, Memory
        >>> core = lambda size: GRU(size, 16)
        >>> decoder = SequenceDecoder(
        ...     torch.nn.Embedding(100, 8), core, memory_size=32, attention=AdditiveAttention
        ... )
        >>> memory, target = Memory(torch.randn(2, 5, 32)), torch.randint(100, (2, 7))
        >>> begin = decoder.prepare(memory), decoder.initial_state(memory)
        >>> decoder.head(decoder(target, *begin).output).shape
        torch.Size([2, 7, 100])
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
                f"SequenceDecoder: tie_weights needs an output of the embedding's size {size}, not "
                f"{output_size}"
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
                f"{type(self.core).__name__} is not causal: a decoder must not see the symbols "
                "that it predicts; take a core that reads forwards only"
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
        """Return the state before the first symbol.

        Args:
            memory: What the encoder found.
        """
        output = memory.output  # (B, S, M)
        rows = output.shape[0]
        feed = output.new_zeros(rows, self.output_size if self.input_feeding else 0)  # (B, O)
        state = self.core.initial_state(
            rows, device=output.device, dtype=torch.promote_types(output.dtype, torch.float32)
        )
        if self.bridge is not None:
            # The mean over the valid vectors; what lies past the lengths does not count, and none
            # at all is zero.
            valid = memory.valid().unsqueeze(2)  # (B, S, 1)
            mean = output.masked_fill(~valid, 0.0).sum(1) / valid.sum(1).clamp(min=1)  # (B, M)
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

        Raises:
            ValueError: The probability is none.
        """
        if not 0 <= sampling <= 1:
            raise ValueError(
                f"SequenceDecoder: sampling is {sampling}; it is a probability, 0 to 1"
            )
        if not self.input_feeding and not sampling:
            return self._whole(tokens, prepared, state)
        core, feed = state
        embedded = self.embedding(tokens)  # (B, T, E)
        # One mask for all steps, and for the symbols that are drawn as well.
        ones = partial(embedded.new_ones, tokens.shape[0], 1)
        mask = self.dropout(ones(embedded.shape[2]))  # (B, 1, E)
        kept = self.dropout(ones(self.core.output_size)) if self.training else None  # (B, 1, H)
        own = torch.rand(tokens.shape, device=tokens.device) < sampling if sampling else None
        outputs: list[Tensor] = []
        weights: list[Tensor] = []
        for t, x in enumerate((embedded * mask).unbind(1)):  # (B, E)
            if own is not None and outputs:
                with torch.no_grad():
                    drawn = choose(self.head(outputs[-1]))  # (B,)
                x = torch.where(own[:, t, None], self.embedding(drawn) * mask[:, 0], x)
            h, core = self.core.step(torch.cat((x, feed), 1) if self.input_feeding else x, core)
            h = h.unsqueeze(1)  # (B, 1, H)
            output, seen = self._attend(h if kept is None else h * kept, prepared)  # (B, 1, O)
            outputs.append(output.squeeze(1))
            weights.append(seen)
            if self.input_feeding:
                feed = outputs[-1]
        if not outputs:
            return self._whole(tokens, prepared, state)
        output, attention = torch.stack(outputs, 1), torch.cat(weights, 1)  # (B, T, O), (B, T, S)
        return Decoded(self.dropout(output), attention, DecoderState(core, feed))

    def _whole(self, tokens: Tensor, prepared: State, state: DecoderState) -> Decoded:
        """Read a target in one piece: no step waits for the output before it."""
        x = self.dropout(self.embedding(tokens))  # (B, T, E)
        if self.input_feeding:  # there is no step, but a graph
            x = torch.cat((x, state.feed.unsqueeze(1).expand(-1, x.shape[1], -1)), 2)
        h, core = self.core(x, state.core)  # (B, T, H)
        output, weights = self._attend(self.dropout(h), prepared)  # (B, T, O), (B, T, S)
        return Decoded(self.dropout(output), weights, DecoderState(core, state.feed))

    def _attend(
        self,
        h: Tensor,
        prepared: State,
        attend: Attend | None = None,
        combine: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return tanh(W_o [context; h]) (B, T, O) of the core's outputs (B, T, H), and weights."""
        combine = combine or self.combine
        if self.attention is None:
            return torch.tanh(combine(h)), h.new_zeros(*h.shape[:2], 0)
        context, weights = (attend or self.attention)(
            h, cast(Prepared, prepared)
        )  # (B, T, M), (B, T, S)
        return torch.tanh(combine(torch.cat((context, h), 2))), weights

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
        return self._step(tokens, state, prepared, core_step=self.core.step)

    def stepper(self) -> Callable[[Tensor, DecoderState, State], tuple[Tensor, DecoderState]]:
        """Make `step` ready for many calls without gradients; see `RecurrentCore.stepper`."""
        return partial(
            self._step,
            core_step=self.core.stepper(),
            combine=layer(self.combine),
            head=layer(self.head),
        )

    def searcher(
        self, prepared: State, allowed: Allowed | None = None
    ) -> tuple[Callable[[Tensor, DecoderState, State], tuple[Tensor, DecoderState]], State]:
        """Make `step` ready to search one memory without gradients: faster than `stepper`.

        Args:
            prepared: What `prepare` returned.
            allowed: The symbols that each row may be written with; a symbol is its place in the
                row's list then, and V the length of the longest. None: all.

        Returns:
            A function like `step`, and what to give it for `prepared`.
        """
        attend = None
        if self.attention is not None:
            attend, prepared = self.attention.searcher(cast(Prepared, prepared))
        step = partial(
            self._step,
            core_step=self.core.stepper(),
            attend=attend,
            combine=layer(self.combine),
        )
        if allowed is None:
            return partial(step, head=layer(self.head)), prepared
        symbols = allowed.symbols
        vectors = self.embedding(symbols)  # (U, E)
        weight = self.head.weight[symbols]  # (U, O)
        bias = None if self.head.bias is None else self.head.bias[symbols]

        few = product(weight, bias)

        def narrow(
            tokens: Tensor, state: DecoderState, prepared: State
        ) -> tuple[Tensor, DecoderState]:
            memory, lists, barred = cast("tuple[State, Tensor, Tensor]", prepared)
            rows = lists.shape[0]
            beams = tokens.shape[0] // max(rows, 1)
            places = lists.gather(1, tokens.view(rows, beams)).flatten()  # (N,)
            logits, state = step(
                places,
                state,
                memory,
                embed=partial(functional.embedding, weight=vectors),
                head=lambda output: self.head(output, lambda given, *_: few(given)),
            )
            each = logits.view(rows, beams, len(symbols))
            own = each.gather(2, lists.unsqueeze(1).expand(-1, beams, -1))  # (R, beams, K)
            return own.add_(barred.unsqueeze(1)).flatten(0, 1), state  # (N, K)

        return narrow, (prepared, allowed.lists, allowed.barred(weight.dtype))

    def _step(
        self,
        tokens: Tensor,
        state: DecoderState,
        prepared: State,
        *,
        core_step: Callable[[Tensor, State], tuple[Tensor, State]],
        attend: Attend | None = None,
        combine: Callable[[Tensor], Tensor] | None = None,
        embed: Callable[[Tensor], Tensor] | None = None,
        head: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, DecoderState]:
        x = (embed or self.embedding)(tokens)  # (N, E)
        x = torch.cat((x, state.feed), 1) if self.input_feeding else x
        h, core = core_step(x, state.core)  # (N, H)
        # The k rows that read one row of the memory are its queries; with no rows any k will do.
        rows = prepared.values.shape[0] if isinstance(prepared, Prepared) else tokens.shape[0]
        h = h.view(rows, h.shape[0] // max(rows, 1), h.shape[1])  # (N / k, k, H)
        output, _ = self._attend(h, prepared, attend, combine)
        output = output.flatten(0, 1)  # (N, O)
        return (head or self.head)(output), DecoderState(
            core, output if self.input_feeding else state.feed
        )
