"""Batches without rows, without steps, or of rows of length 0: zeros, and the graph is whole."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.utils import _pytree as pytree
from unrolled.core import (
    GRU,
    LSTM,
    QRNN,
    SLSTM,
    AdditiveAttention,
    Bidirectional,
    DotAttention,
    FrameEncoder,
    GatedAttention,
    Memory,
    RecurrentCore,
    SequenceDecoder,
    SequenceEncoder,
    SmallCNN,
    Stacked,
    Zoneout,
    linear_recurrence,
)
from unrolled.core.seq2seq.losses import (
    chunked_cross_entropy,
    sequence_cross_entropy,
    truncated_smoothness,
)
from unrolled.core.state import State, leaves, map_state

from .conftest import classes, plain_cores

B, T = 3, 4
EMPTY = {
    "no rows": (0, T, None),
    "no steps": (B, 0, None),
    "neither": (0, 0, None),
    "lengths": (B, T, [0] * B),
}


def whole(module: nn.Module, *others: Tensor) -> None:
    """Check that everything has a gradient, and that it is zero."""
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name
    for other in others:
        assert other.grad is not None
        assert not other.grad.any()


@pytest.mark.parametrize("part", ["output", "state"])
@pytest.mark.parametrize("case", EMPTY)
def test_the_graph_of_an_empty_batch_is_whole(core, case, part):
    rows, steps, lengths = EMPTY[case]
    core.train()
    for name, parameter in core.named_parameters():
        if "norm" not in name:
            nn.init.constant_(parameter, float("nan"))  # times zero it would be NaN
    x = torch.full(
        (rows, steps, core.input_size), float("nan"), dtype=torch.float64, requires_grad=True
    )
    output, state = core(x, lengths=None if lengths is None else torch.tensor(lengths))
    assert output.shape == (rows, steps, core.output_size)
    assert not output.any()
    assert not any(leaf.any() for leaf in leaves(state))
    (output.sum() if part == "output" else sum(leaf.sum() for leaf in leaves(state))).backward()
    whole(core, x)


@pytest.mark.parametrize("case", EMPTY)
def test_gradients_of_a_state_go_through(core, random_state, case, same):
    rows, steps, lengths = EMPTY[case]
    x = torch.randn(rows, steps, core.input_size, dtype=torch.float64)
    given = map_state(lambda leaf: leaf.clone().requires_grad_(), random_state(core, B))
    given = map_state(lambda leaf: leaf[:rows].detach().requires_grad_(), given)
    _, last = core(x, given, lengths=None if lengths is None else torch.tensor(lengths))
    same(last, map_state(torch.Tensor.detach, given), 0.0)
    sum((2 * leaf).sum() for leaf in leaves(last)).backward()
    for leaf in leaves(given):
        assert torch.equal(leaf.grad, torch.full_like(leaf, 2.0))


def test_an_empty_batch_costs_no_graph_without_gradients(core):
    with torch.no_grad():
        output, state = core(torch.randn(0, T, core.input_size, dtype=torch.float64))
    assert not output.requires_grad
    assert not any(leaf.requires_grad for leaf in leaves(state))


def test_no_rows_take_a_step(causal):
    x, state = torch.randn(0, causal.input_size, dtype=torch.float64), causal.initial_state(0)
    for step in (causal.step, causal.stepper()):
        output, after = step(x, state)
        assert output.shape == (0, causal.output_size)
        assert [leaf.shape for leaf in leaves(after)] == [leaf.shape for leaf in leaves(state)]
    causal.step(x, state)[0].sum().backward()
    whole(causal)


def test_every_core_runs_on_the_meta_device(core):
    core.to("meta")
    x = torch.empty(B, T, core.input_size, dtype=torch.float64, device="meta")
    core.train()  # test_tools.py has the other mode
    state = None
    for lengths in (None, torch.tensor([2, 0, 4])):
        output, state = core(x, state, lengths=lengths)
        assert output.is_meta
        assert output.shape == (B, T, core.output_size)
    if core.causal:
        output, state = core.step(x[:, 0], state)
        assert output.shape == (B, core.output_size)
    assert all(leaf.is_meta for leaf in leaves(state))


def test_copies_and_pickles_after_use(core, same):
    x = torch.randn(B, T, core.input_size, dtype=torch.float64)
    expected = core(x, core.initial_state(B))
    same(copy.deepcopy(core)(x, core.initial_state(B)), expected, 0.0)
    if not any(
        name.startswith("parametrizations")
        for name, _ in core.named_modules()
        for name in name.split(".")
    ):
        # torch pickles no others
        same(pickle.loads(pickle.dumps(core))(x, core.initial_state(B)), expected, 0.0)


class _Step(nn.Module):
    def __init__(self, core: RecurrentCore) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.core.step(x, state)


def export_and_run(core: RecurrentCore) -> None:
    def state(rows: int) -> State:
        with torch.no_grad():
            return core(torch.randn(rows, 2, core.input_size, dtype=torch.float64))[1]

    batch = torch.export.Dim("batch", min=1, max=64)
    shapes = ({0: batch}, pytree.tree_map(lambda leaf: {0: batch}, state(3)))
    x = torch.randn(3, core.input_size, dtype=torch.float64)
    exported = torch.export.export(_Step(core), (x, state(3)), dynamic_shapes=shapes).module()
    for rows in (1, 3, 5):
        x, given = torch.randn(rows, core.input_size, dtype=torch.float64), state(rows)
        for one, other in zip(leaves(exported(x, given)), leaves(core.step(x, given)), strict=True):
            torch.testing.assert_close(one, other)


# One of every way to make a step; the others are slow, here and in test_graphs.py.
QUICK = {"GRU", "GatedDeltaNet", "MLSTM", "MinGRU", "QRNN", "SLSTM"}


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in plain_cores()
    ],
)
@pytest.mark.filterwarnings("default")  # torch's own
def test_an_exported_step_takes_any_batch(name):
    export_and_run(classes()[name](3, 4).double())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # as above
def test_exported_compositions_take_any_batch(causal):
    export_and_run(causal)


@pytest.mark.parametrize("case", EMPTY)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_encoder_of_nothing(case, bidirectional):
    rows, steps, _ = EMPTY[case]

    def make(size: int) -> RecurrentCore:
        return Bidirectional(size, lambda inner: GRU(inner, 3)) if bidirectional else LSTM(size, 3)

    encoder = SequenceEncoder(nn.Embedding(6, 5), make, dropout=0.1)
    tokens = torch.zeros(rows, steps, dtype=torch.int64)
    memory = encoder(tokens, torch.zeros(rows, dtype=torch.int64))
    assert not memory.output.any()
    memory.output.sum().backward()
    whole(encoder)


DECODERS: dict[str, dict[str, object]] = {
    "feeding": {"attention": AdditiveAttention},
    "plain": {"attention": DotAttention, "input_feeding": False},
    "gated": {"attention": GatedAttention, "bridge": False},
    "bridge": {"attention": None, "input_feeding": False},
    "tied": {"attention": AdditiveAttention, "tie_weights": True},
}


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize(
    ("rows", "steps", "places"), [(0, 4, 5), (3, 0, 5), (0, 0, 0), (0, 4, 0), (3, 4, 0)]
)
def test_a_decoder_of_nothing(kind, rows, steps, places):
    torch.manual_seed(0)
    decoder = SequenceDecoder(
        nn.Embedding(6, 5), lambda size: GRU(size, 4), memory_size=4, **DECODERS[kind]
    )
    output = torch.randn(rows, places, 4, requires_grad=True)
    memory = Memory(output, torch.zeros(rows, dtype=torch.int64) if not places else None)
    tokens, target = torch.zeros(2, rows, steps, dtype=torch.int64)
    prepared, state = decoder.prepare(memory), decoder.initial_state(memory)
    decoded = decoder(tokens, prepared, state)
    assert decoded.output.shape[:2] == (rows, steps)
    lengths = torch.zeros(rows, dtype=torch.int64)
    loss = chunked_cross_entropy(
        decoded.output, decoder.head.weight, decoder.head.bias, target, lengths
    )
    loss = loss + 0 * decoded.attention.sum()
    assert loss == 0
    loss.backward()
    whole(decoder, output)
    if not rows:
        with torch.no_grad():
            for step in (decoder.step, decoder.stepper()):
                logits, _ = step(torch.zeros(0, dtype=torch.int64), state, prepared)
                assert logits.shape == (0, 6)


LOSSES: dict[str, Callable[[Tensor, nn.Linear, Tensor, Tensor | None], Tensor]] = {
    "plain": lambda x, head, target, lengths: sequence_cross_entropy(head(x), target, lengths),
    "chunked": lambda x, head, target, lengths: chunked_cross_entropy(
        x, head.weight, head.bias, target, lengths
    ),
    "smooth": lambda x, head, target, lengths: truncated_smoothness(head(x), lengths),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", EMPTY)
def test_losses_of_nothing(name, case):
    rows, steps, lengths = EMPTY[case]
    head = nn.Linear(4, 6)
    x = torch.randn(rows, steps, 4, requires_grad=True)
    target = torch.zeros(rows, steps, dtype=torch.int64)
    for given in {
        None if lengths is None else torch.tensor(lengths),
        torch.zeros(rows, dtype=torch.int64),
    }:
        if given is None and rows and steps:
            continue
        head.zero_grad()
        loss = LOSSES[name](x, head, target, given)
        assert loss == 0
        loss.backward()
        whole(head, x)


def test_a_recurrence_of_nothing():
    for rows, steps in ((0, T), (B, 0)):
        tensors = [torch.randn(steps, rows, 2, requires_grad=True) for _ in range(2)]
        initial = torch.randn(rows, 2, requires_grad=True)
        linear_recurrence(*tensors, initial).sum().backward()
        assert all(tensor.grad is not None for tensor in (*tensors, initial))


def test_no_frames_leave_a_graph():
    encoder = FrameEncoder(lambda: SmallCNN([4]), output_size=3)
    output = encoder(torch.zeros(0, 3, 8, 8, dtype=torch.uint8))
    assert output.shape == (0, 3)
    output.sum().backward()
    whole(encoder)


SHARED: dict[str, Callable[[], RecurrentCore]] = {
    "LSTM": lambda: LSTM(3, 4),
    "SLSTM": lambda: SLSTM(3, 4),
    "QRNN": lambda: QRNN(3, 4),
    "Bidirectional": lambda: Bidirectional(3, lambda size: GRU(size, 4)),
    "Stacked": lambda: Stacked(
        3,
        lambda size: Zoneout(size, lambda inner: LSTM(inner, 4), p=0.0),
        num_layers=2,
        norm=True,
        residual=True,
    ),
}


def train(wrap: Callable[[nn.Module], nn.Module], mine: slice, scale: float = 1.0) -> list[Tensor]:
    """Train every core on some rows of two batches, as one of the processes that share them."""
    weights = []
    for maker in SHARED.values():
        for steps in (T, 0):
            torch.manual_seed(0)
            core = maker().double()
            x = torch.randn(2, B, T, 3, dtype=torch.float64)
            lengths = torch.tensor([[3, 4, 1], [2, 4, 4]])
            model = wrap(core)
            optimizer = torch.optim.SGD(core.parameters(), lr=0.1)
            for batch, ends in zip(x, lengths, strict=True):
                rows, kept = batch[mine], ends[mine]
                if not len(rows) and not steps:  # nothing, as a row without a step
                    rows, kept = batch[:1, :0], torch.tensor([0])
                optimizer.zero_grad()
                output, state = model(rows, lengths=kept)
                loss = sum(leaf.square().sum() for leaf in leaves((output, state)))
                (scale * loss).backward()
                optimizer.step()
            weights += [parameter.detach() for parameter in core.parameters()]
    return weights


def one_of_two(rank: int, folder: str) -> None:
    """Be a process whose share is everything, or nothing."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2
    )

    share = slice(None) if rank == 0 else slice(0, 0)
    # ddp takes the mean of the gradients
    weights = train(nn.parallel.DistributedDataParallel, share, 2.0)
    if rank == 1:
        torch.save(weights, f"{folder}/weights.pt")
    distributed.destroy_process_group()


@pytest.mark.slow  # two processes start
def test_a_process_without_rows_trains_with_the_others(tmp_path):
    if not distributed.is_gloo_available():
        pytest.skip("torch was built without gloo")
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    found = torch.load(tmp_path / "weights.pt", weights_only=True)
    for one, other in zip(found, train(lambda core: core, slice(None)), strict=True):
        torch.testing.assert_close(one, other)
