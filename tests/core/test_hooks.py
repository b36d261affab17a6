"""Cores within cores are modules: hooks, pruning and sharding work, in sequences and steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.utils import parametrizations, prune
from unrolled.core import GRU, LSTM, Bidirectional, RecurrentCore, Stacked, WeightDrop, Zoneout
from unrolled.core.state import leaves

from .conftest import INPUT, backward_readers, compositions, make

B, T = 4, 5
COMPOSITIONS = {**compositions(), **backward_readers()}


@pytest.fixture(params=list(COMPOSITIONS))
def composition(request: pytest.FixtureRequest) -> RecurrentCore:
    """A core that contains cores, in float64."""
    return make(COMPOSITIONS[request.param])


def inner_cores(core: RecurrentCore) -> dict[str, RecurrentCore]:
    """Every core within a core, by name."""
    return {
        name: module
        for name, module in core.named_modules()
        if name and isinstance(module, RecurrentCore)
    }


def runs(core: RecurrentCore) -> dict[str, Callable[[], object]]:
    """All ways to run a core."""
    x = torch.randn(B, T, INPUT, dtype=torch.float64)
    reset = torch.zeros(B, T, dtype=torch.bool)
    reset[1, 2] = True
    found: dict[str, Callable[[], object]] = {
        "whole": lambda: core(x),
        "from a state": lambda: core(x, core.initial_state(B)),
        "lengths": lambda: core(x, lengths=torch.tensor([2, 5, 0, 3])),
        "resets": lambda: core(x, lengths=torch.tensor([2, 5, 0, 3]), reset=reset),
        "no rows": lambda: core(x[:0]),
        "no steps": lambda: core(x[:, :0]),
        "lengths zero": lambda: core(x, lengths=torch.zeros(B, dtype=torch.int64)),
    }
    if core.causal:
        found["step"] = lambda: core.step(x[:, 0], core.initial_state(B))
        found["stepper"] = lambda: core.stepper()(x[:, 0], core.initial_state(B))
    return found


def test_hooks_of_every_inner_core_fire_in_every_way_to_run(composition):
    seen: list[str] = []

    def look(name: str, module: RecurrentCore) -> None:
        def before(module: nn.Module, given: tuple[Any, ...]) -> None:
            x, state = given
            assert x.shape[-1] == module.input_size
            assert [leaf.shape[0] for leaf in leaves(state)] == [x.shape[0]] * len(leaves(state))
            seen.append(f"before {name}")

        def after(module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
            output, state = result
            assert output.shape == (*given[0].shape[:-1], module.output_size)
            assert type(state) is type(given[1])
            seen.append(f"after {name}")

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    inner = inner_cores(composition)
    for name, module in inner.items():
        look(name, module)
    for way, run in runs(composition).items():
        seen.clear()
        run()
        for name in inner:
            assert f"before {name}" in seen, way
            assert f"after {name}" in seen, way
            if not isinstance(composition, Zoneout):  # which goes step by step
                assert seen.count(f"before {name}") == 1, way


def test_hooks_of_the_outer_core_fire_once_for_a_sequence(core):
    count = []
    core.register_forward_pre_hook(lambda module, given: count.append(given[0].shape))
    x = torch.randn(B, T, core.input_size, dtype=torch.float64)
    core(x, lengths=torch.tensor([2, 5, 0, 3]))
    assert count == [x.shape]
    if core.causal:
        core.step(x[:, 0], core.initial_state(B))
        core.stepper()(x[:, 0], core.initial_state(B))
        assert count[1:] == [x[:, 0].shape] * 2


def test_hooks_change_nothing(core, random_state, same):
    x, state, lengths = (
        torch.randn(B, T, core.input_size).double(),
        random_state(core, B),
        torch.tensor([2, 5, 0, 3]),
    )
    ways = [lambda: core(x, state), lambda: core(x, state, lengths=lengths)]
    if core.causal:
        ways += [lambda: core.step(x[:, 0], state), lambda: core.stepper()(x[:, 0], state)]
    with torch.no_grad():
        expected = [way() for way in ways]
        for module in core.modules():
            module.register_forward_hook(lambda *given: None)
        for way, wanted in zip(ways, expected, strict=True):
            same(way(), wanted)


def test_what_a_hook_returns_counts(composition):
    inner = inner_cores(composition)
    last = (
        max(inner, key=len)
        if "core" in inner
        else [name for name in inner if name.count(".") < 2][-1]
    )
    ways = runs(composition)
    inner[last].register_forward_hook(
        lambda module, given, result: (
            (torch.full_like(result[0], torch.nan), result[1])
            if not isinstance(composition, Zoneout)
            else (result[0], type(result[1])(*(leaf * torch.nan for leaf in result[1])))
        )
    )
    for way in ("whole", *(["step"] if composition.causal else [])):
        output, _ = ways[way]()  # type: ignore[misc]
        assert output.isnan().any(), way


def test_full_backward_hooks_see_gradients(composition):
    seen = []
    for name, module in inner_cores(composition).items():
        module.register_full_backward_hook(
            lambda module, before, after, name=name: seen.append((name, after[0].shape))
        )
    x = torch.randn(B, T, INPUT, dtype=torch.float64, requires_grad=True)
    composition(x, lengths=torch.tensor([2, 5, 0, 3]))[0].sum().backward()
    # which reads the state alone, where torch's backward hooks don't look
    if not isinstance(composition, Zoneout):
        assert {name for name, _ in seen} == set(inner_cores(composition))
    assert x.grad is not None


PRUNED: dict[str, Callable[[], RecurrentCore]] = {
    "Stacked": lambda: Stacked(INPUT, lambda size: LSTM(size, 4), num_layers=2),
    "Bidirectional": lambda: Bidirectional(INPUT, lambda size: GRU(size, 4)),
    "WeightDrop": lambda: WeightDrop(INPUT, lambda size: LSTM(size, 4)),
    "Zoneout": lambda: Zoneout(INPUT, lambda size: LSTM(size, 4)),
}


@pytest.mark.parametrize("kind", PRUNED)
def test_pruned_weights_learn_and_stay_pruned(kind):
    torch.manual_seed(0)
    core = PRUNED[kind]().double()
    pruned = [(module, "weight_ih") for module in inner_cores(core).values()]
    for module, name in pruned:
        prune.l1_unstructured(module, name, 0.5)
    optimizer = torch.optim.SGD(core.parameters(), lr=0.1)
    x = torch.randn(B, T, INPUT, dtype=torch.float64)
    runs = [lambda: core(x)[0], lambda: core(x, lengths=torch.tensor([2, 5, 0, 3]))[0]]
    if core.causal:
        runs += [lambda: core.step(x[:, 0], core.initial_state(B))[0]]
    for run in runs:
        before = [getattr(module, f"{name}_orig").detach().clone() for module, name in pruned]
        # the second would go through a graph that is gone, if the first's weight were kept
        for _ in range(2):
            optimizer.zero_grad()
            run().square().sum().backward()
            optimizer.step()
        core.eval()
        run()
        for (module, name), old in zip(pruned, before, strict=True):
            mask, now = getattr(module, f"{name}_mask"), getattr(module, f"{name}_orig")
            assert not torch.equal(now, old)
            assert torch.equal(getattr(module, name), now * mask)
            assert torch.equal(now[mask == 0], old[mask == 0])
        core.train()
    if core.causal:  # a stepper may hold no weights from before the last update
        core.eval()
        with torch.no_grad():
            pruned[0][0].weight_ih_orig.add_(1)
            found = core.stepper()(x[:, 0], core.initial_state(B))[0]
            torch.testing.assert_close(found, core.step(x[:, 0], core.initial_state(B))[0])


# which has one of its own there
@pytest.mark.parametrize("kind", [name for name in PRUNED if name != "WeightDrop"])
@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_parametrised_weights_learn(kind, norm):
    torch.manual_seed(0)
    core = PRUNED[kind]().double()
    for module in inner_cores(core).values():
        norm(module, "weight_hh")
    x = torch.randn(B, T, INPUT, dtype=torch.float64)
    core(x, lengths=torch.tensor([2, 5, 0, 3]))[0].square().sum().backward()
    if core.causal:
        core.step(x[:, 0], core.initial_state(B))[0].square().sum().backward()
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None, name


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    if not distributed.is_gloo_available():
        pytest.skip("torch was built without gloo")
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("kind", PRUNED)
# which nothing here changes in place
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view")
def test_every_core_within_can_be_sharded_by_itself(kind, one_process):
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    core = PRUNED[kind]().double().eval()
    x = torch.randn(B, T, INPUT, dtype=torch.float64)
    lengths = torch.tensor([2, 5, 0, 3])

    def everything() -> list[Tensor]:
        found = [*leaves(core(x)), *leaves(core(x, lengths=lengths)), *leaves(core(x[:0]))]
        if core.causal:
            found += leaves(core.step(x[:, 0], core.initial_state(B)))
            with torch.no_grad():
                found += leaves(core.stepper()(x[:, 0], core.initial_state(B)))
        return found

    expected = everything()
    sum(part.square().sum() for part in expected).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in core.named_parameters()}
    core.zero_grad()
    # a parametrised weight lies in a module of its own: the whole is one piece
    if kind == "WeightDrop":
        fully_shard(core, mesh=init_device_mesh("cpu", (1,)))
    else:
        for module in inner_cores(core).values():
            fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
        fully_shard(core, mesh=init_device_mesh("cpu", (1,)))
    found = everything()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    sum(part.square().sum() for part in found).backward()
    for name, parameter in core.named_parameters():
        torch.testing.assert_close(parameter.grad.full_tensor(), gradients[name], msg=name)


def test_a_schedule_is_made_once(monkeypatch):
    """Inner cores take the outer core's: making it sorts rows and looks for cuts."""
    from unrolled.core import recurrent

    made = []
    schedule = recurrent.Schedule

    class Watched(schedule):
        def __init__(self, *given: Any) -> None:
            made.append(None)
            super().__init__(*given)

    monkeypatch.setattr(recurrent, "Schedule", Watched)
    stack = Stacked(3, lambda size: WeightDrop(size, lambda inner: GRU(inner, 4)), num_layers=3)
    stack(torch.randn(B, T, 3), lengths=torch.tensor([2, 5, 0, 3]))
    assert len(made) == 1
