"""Whole torch modules against the cores made of them, and back."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from unrolled.core import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    LayerNormLSTM,
    LockedDropout,
    MinGRU,
    Stacked,
    WeightDrop,
    Zoneout,
    from_torch,
    state_from_torch,
    state_to_torch,
    to_torch,
)

B, T, D, H = 5, 7, 3, 4
CASES = {
    f"{cls.__name__}-{layers}{'-both' if both else ''}": (cls, layers, both)
    for cls, layers, both in product((nn.LSTM, nn.GRU, nn.RNN), (1, 2, 3), (False, True))
}


def make(case: str, **options: object) -> nn.RNNBase:
    cls, layers, both = CASES[case]
    torch.manual_seed(0)
    more = {"dropout": 0.4} if layers > 1 else {}
    options = {"num_layers": layers, "bidirectional": both, **more, **options}
    return cls(D, H, **options).double().eval()


def state_of(module: nn.RNNBase, batch: int = B) -> Tensor | tuple[Tensor, Tensor]:
    count = module.num_layers * (1 + module.bidirectional)
    hidden = torch.randn(count, batch, module.proj_size or H, dtype=torch.float64)
    if not isinstance(module, nn.LSTM):
        return hidden
    return hidden, torch.randn(count, batch, H, dtype=torch.float64)


def flat(state: Tensor | tuple[Tensor, Tensor]) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else list(state)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def compare(module: nn.RNNBase) -> None:
    """Outputs, states and gradients of everything, from a state, with lengths, to the last bits."""
    core = from_torch(module)
    start, lengths = state_of(module), torch.tensor([3, 7, 1, 7, 5])
    values = torch.randn(B, T, D, dtype=torch.float64)
    found = []
    for run in ("torch", "core"):
        x = values.clone().requires_grad_()
        given = [part.clone().requires_grad_() for part in flat(start)]
        hx = tuple(given) if len(given) == 2 else given[0]
        if run == "core":
            output, last = core(x, state_from_torch(core, hx), lengths=lengths)
            last, trained = state_to_torch(core, last), from_names(core, module)
        else:
            inputs = x if module.batch_first else x.transpose(0, 1)
            packed = pack_padded_sequence(inputs, lengths, module.batch_first, False)
            packed, last = module(packed, hx)
            output, _ = pad_packed_sequence(packed, batch_first=True)
            trained = dict(module.named_parameters())
        (output.sin().sum() + sum(leaf.exp().sum() for leaf in flat(last))).backward()
        gradients = [tensor.grad for tensor in (x, *given, *trained.values())]
        found.append([output, *flat(last), *gradients])
    for ours, theirs in zip(found[1], found[0], strict=True):
        close(ours, theirs)


def from_names(core: nn.Module, module: nn.RNNBase) -> dict[str, Tensor]:
    """The core's parameters in the order of the module's."""
    places = core.torch_places()
    found = {}
    for name, _ in module.named_parameters():
        own, _, suffix = name.rpartition("_l")
        found[name] = core.get_parameter(f"{places[f'_l{suffix}']}.{own}".lstrip("."))
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_whole_module_becomes_a_core(case):
    compare(make(case))


@pytest.mark.parametrize("case", ["LSTM-3-both", "GRU-2", "RNN-2-both"])
@pytest.mark.parametrize("options", [{"bias": False}, {"batch_first": True}, {"relu": True}])
def test_options_come_along(case, options):
    if options.pop("relu", False):
        if "RNN" not in case:
            pytest.skip("only nn.RNN has a nonlinearity to choose")
        options["nonlinearity"] = "relu"
    compare(make(case, **options))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not:UserWarning")  # torch's module
@pytest.mark.parametrize("case", ["LSTM-1", "LSTM-3-both"])
def test_projections_come_along(case):
    compare(make(case, proj_size=2))
    module = make(case, proj_size=2)
    again = to_torch(from_torch(module))
    assert again.proj_size == 2
    for name, value in again.state_dict().items():
        assert torch.equal(module.state_dict()[name], value)


@pytest.mark.parametrize("case", CASES)
def test_and_a_module_again(case):
    module = make(case).train()
    module.weight_hh_l0.requires_grad_(False)
    again = to_torch(from_torch(module))
    for name in ("num_layers", "bidirectional", "dropout", "bias", "hidden_size", "training"):
        assert getattr(again, name) == getattr(module, name), name
    assert again.batch_first
    for (name, one), (other, value) in zip(
        module.named_parameters(), again.named_parameters(), strict=True
    ):
        assert name == other
        assert torch.equal(one, value)
        assert one.data_ptr() != value.data_ptr()
        assert one.requires_grad == value.requires_grad


@pytest.mark.parametrize("case", CASES)
def test_state_dicts_of_torch_load(case):
    """At any place of a model, and in a model of cores that torch knows nothing of."""
    module = make(case)
    core = from_torch(make(case)).double()
    for parameter in core.parameters():
        nn.init.zeros_(parameter)
    model = nn.ModuleDict({"encoder": core, "head": nn.Linear(2, 2)})
    saved = {f"encoder.{name}": value for name, value in module.state_dict().items()}
    report = model.load_state_dict(saved | {"head.weight": torch.ones(2, 2)}, strict=False)
    assert report.missing_keys == ["head.bias"]
    assert not report.unexpected_keys
    x = torch.randn(B, T, D, dtype=torch.float64)
    close(core(x)[0], from_torch(module)(x)[0])
    core.load_state_dict(module.state_dict())
    core.load_state_dict(core.state_dict())
    assert f"encoder.{next(iter(module.state_dict()))}" in saved  # the caller keeps its own


def test_state_dicts_load_beneath_dropped_weights_and_norms():
    module = nn.LSTM(D, H, num_layers=2)
    core = Stacked(
        D,
        lambda size: WeightDrop(size, lambda inner: LSTM(inner, H)),
        num_layers=2,
        norm=True,
    ).eval()
    report = core.load_state_dict(module.state_dict(), strict=False)
    assert report.missing_keys == [
        f"norms.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")
    ]
    assert not report.unexpected_keys
    assert torch.equal(core.layers[1].core.weight_hh, module.weight_hh_l1)
    zoneout = Zoneout(D, lambda size: GRU(size, H))
    zoneout.load_state_dict(nn.GRU(D, H).state_dict())


@pytest.mark.parametrize(
    ("core", "module", "unexpected"),
    [
        (LSTM(D, H), nn.LSTM(D, H, num_layers=2), "weight_ih_l1"),
        (LSTM(D, H), nn.LSTM(D, H, bidirectional=True), "weight_ih_l0_reverse"),
        (Stacked(D, lambda size: GRU(size, H), num_layers=2), nn.GRU(D, H, 3), "weight_ih_l2"),
        (Bidirectional(D, lambda size: MinGRU(size, H)), nn.GRU(D, H), "weight_ih_l0"),
        (MinGRU(D, H), nn.GRU(D, H), "weight_ih_l0"),
    ],
)
def test_weights_without_a_place_are_reported(core, module, unexpected):
    with pytest.raises(RuntimeError, match=rf'Unexpected key\(s\) in state_dict: .*"{unexpected}"'):
        core.load_state_dict(module.state_dict())
    assert unexpected in core.load_state_dict(module.state_dict(), strict=False).unexpected_keys


@pytest.mark.parametrize("case", ["LSTM-3", "GRU-2"])
def test_dropout_between_layers_is_torchs(case):
    """The same masks from the same seed: one for every step."""
    module = make(case, batch_first=True).train()
    core = from_torch(module)
    x = torch.randn(B, T, D, dtype=torch.float64)
    found = []
    for run in (module, core):
        torch.manual_seed(3)
        found.append(run(x)[0])
    close(found[1], found[0])
    core.dropout = LockedDropout(0.4)
    assert to_torch(core).dropout == 0.4


def test_masks_of_both_directions_differ_by_step():
    core = from_torch(nn.LSTM(D, H, num_layers=2, bidirectional=True, dropout=0.5))
    seen = []
    core.layers[1].register_forward_pre_hook(lambda _, given: seen.append(given[0] == 0))
    core(torch.randn(2, 50, D))
    assert 0.3 < seen[0].float().mean() < 0.7
    assert (seen[0] != seen[0][:, :1]).any()


def test_weights_as_they_act_are_taken():
    """Of a pruned and of a parametrised module."""
    module = nn.GRU(D, H, num_layers=2).double()
    prune.l1_unstructured(module, "weight_hh_l1", 0.5)
    parametrizations.weight_norm(module, "weight_ih_l0")
    core = from_torch(module)
    assert (core.layers[1].weight_hh == 0).sum() == module.weight_hh_l1.numel() // 2
    x = torch.randn(B, T, D, dtype=torch.float64)
    close(core(x)[0], module(x.transpose(0, 1))[0].transpose(0, 1))
    prune.l1_unstructured(core.layers[0], "weight_hh", 0.5)
    close(core(x)[0], to_torch(core)(x)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dtypes_and_devices_come_along(dtype):
    core = from_torch(nn.LSTM(D, H, num_layers=2, dtype=dtype))
    assert {parameter.dtype for parameter in core.parameters()} == {dtype}
    assert {parameter.dtype for parameter in to_torch(core).parameters()} == {dtype}
    state = state_from_torch(core, (torch.ones(2, B, H, dtype=dtype),) * 2)
    assert state[0].hidden.dtype == torch.float32
    assert state_to_torch(core, state)[0].dtype == dtype
    meta = from_torch(nn.GRU(D, H, bidirectional=True, device="meta"))
    assert meta.ahead.weight_ih.is_meta
    assert to_torch(meta).weight_hh_l0_reverse.is_meta


@pytest.mark.parametrize("case", CASES)
def test_states_go_both_ways(case):
    module = make(case)
    core, state = from_torch(module), state_of(module)
    found = state_to_torch(core, state_from_torch(core, state))
    assert type(found) is type(state)
    for one, other in zip(flat(found), flat(state), strict=True):
        assert torch.equal(one, other)
    inside = core.initial_state(2)
    dropped = Stacked(D, lambda size: WeightDrop(size, lambda inner: LSTM(inner, H)), num_layers=2)
    hidden, _ = state_to_torch(dropped, dropped.initial_state(2))
    assert hidden.shape == (2, 2, H)
    assert flat(state_to_torch(core, inside))[0].shape == (len(flat(state)[0]), 2, H)


class Own(nn.LSTM):
    pass


WHOLE = nn.LSTM(D, H, num_layers=2, bidirectional=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: LSTM.from_torch(WHOLE),
            r"2 layers, bidirectional=True: .*core.from_torch\(module",
        ),
        (lambda: LSTM.from_torch(WHOLE, layer=0), "takes one layer in one direction"),
        (lambda: LSTM.from_torch(WHOLE, reverse=True), "takes one layer in one direction"),
        (lambda: GRU.from_torch(nn.GRU(D, H, 3)), "3 layers, bidirectional=False"),
        (lambda: RNN.from_torch(nn.RNN(D, H, bidirectional=True)), "1 layers, bidirectional=True"),
        (lambda: LSTM.from_torch(nn.LSTMCell(D, H)), "not LSTMCell: .*loads a cell's weights"),
        (lambda: LSTM.from_torch(nn.GRU(D, H)), "takes nn.LSTM, not GRU: GRU.from_torch does"),
        (lambda: from_torch(Own(D, H)), "not Own; of a subclass of LSTM it can't know the forward"),
        (lambda: from_torch(nn.Linear(D, H)), "takes nn.LSTM, nn.GRU or nn.RNN, not Linear"),
        (lambda: to_torch(LSTM(D, H, peepholes=True)), "nn.LSTM has no peepholes"),
        (lambda: to_torch(MinGRU(D, H)), "for it contains MinGRU"),
        (lambda: to_torch(WeightDrop(D, lambda s: LSTM(s, H))), "for it contains WeightDrop"),
        (
            lambda: to_torch(Stacked(D, lambda s: LSTM(s, H), num_layers=2, norm=True)),
            "residual connections or norms",
        ),
        (
            lambda: to_torch(Stacked(D, lambda s: LSTM(s, 9 - s), num_layers=2)),
            "its layers differ",
        ),
        (
            lambda: to_torch(
                Stacked(
                    D,
                    lambda s: GRU(s, H) if s == D else Bidirectional(s, lambda i: GRU(i, H)),
                    num_layers=2,
                )
            ),
            "its layers differ",
        ),
        (
            lambda: to_torch(Bidirectional(D, mixed())),
            "its layers differ",
        ),
        (
            lambda: state_from_torch(from_torch(WHOLE), torch.zeros(4, 2, H)),
            r"is \(float32 \(4, 2, 4\)\); .* must be hidden \(4, B, 4\), cell \(4, B, 4\)",
        ),
        (
            lambda: state_from_torch(from_torch(WHOLE), (torch.zeros(2, 4, H),) * 2),
            "layers times directions first, then the batch",
        ),
        (lambda: state_from_torch(LSTM(D, H), None), r"the state is \(None\)"),
        (lambda: state_from_torch(GRU(D, H), torch.zeros(1, H)), r"the state is \(float32 \(1, 4"),
        (lambda: state_from_torch(MinGRU(D, H), torch.zeros(1, 2, H)), "no module of MinGRU"),
        (lambda: state_from_torch(LayerNormLSTM(D, H), ()), "no module of LayerNormLSTM"),
        (lambda: state_to_torch(GRU(D, H), torch.zeros(2, H)), "the state is float32"),
        (lambda: state_to_torch(from_torch(WHOLE), None), "the state is None"),
        (
            lambda: from_torch(WHOLE)(torch.zeros(2, T, D), (torch.zeros(4, 2, H),) * 2),
            r"torch's modules put the layers first: .*state_from_torch\(core, state\)",
        ),
        (
            lambda: GRU(D, H)(torch.zeros(2, T, D), (torch.zeros(1, 2, H),)),
            r"pass one layer of it, h\[0\], or state_from_torch\(core, state\)",
        ),
    ],
)
def test_what_can_not_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def mixed():
    kinds = iter([GRU, LSTM])
    return lambda size: next(kinds)(size, H)
