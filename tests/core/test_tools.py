"""Every core with what is done to modules: hooks, pruning, copies, dtypes, transforms of a step.

The table "At home in every tool" of docs/cores.md names the test of each cell; see also
test_graphs.py, test_function_transforms.py, test_second_order.py and test_hooks.py.
"""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.func import functional_call, grad, jacrev, vmap
from torch.nn.utils import parametrizations, parametrize, prune
from unrolled.core import RecurrentCore, Stacked
from unrolled.core.state import leaves, map_state

from .conftest import EVERY, HIDDEN, INPUT, classes, make, plain_cores

B, T = 3, 5
PLAIN = plain_cores()
ROOT = Path(__file__).resolve().parents[2]
MASKS = {
    "lengths": torch.tensor([3, 5, 0]),
    "reset": torch.tensor([[0, 0, 1, 0, 0], [0, 1, 0, 0, 1], [0] * 5], dtype=torch.bool),
}

# torch's own forward mode and transforms warn of themselves
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
]


def inputs(core: RecurrentCore, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    drawn = torch.randn(*shape, core.input_size, dtype=torch.float64, generator=generator)
    return drawn.to(dtype)


def results(core: RecurrentCore, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """What every way to run a core gives."""
    x = inputs(core, B, T, dtype=dtype)
    found = [*leaves(core(x)), *leaves(core(x, **MASKS))]
    if core.causal:
        found += leaves(core.step(x[:, 0], core(x)[1]))
        with torch.no_grad():
            found += leaves(core.stepper()(x[:, 0], core.initial_state(B)))
    return found


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


def matrices(core: RecurrentCore) -> list[str]:
    return [name for name, parameter in core.named_parameters() if parameter.dim() >= 2]


# Hooks, pruning, parametrisation


@pytest.fixture(params=list(PLAIN))
def alone(request: pytest.FixtureRequest) -> RecurrentCore:
    """A core that is no composition, in float64; test_hooks.py has the compositions."""
    return make(PLAIN[request.param])


def test_hooks_see_sequences_and_steps(alone):
    x, state = inputs(alone, B, T), alone.initial_state(B)
    seen: list[tuple[int, ...]] = []
    alone.register_forward_pre_hook(lambda _, given: (given[0] * 2, *given[1:]))
    alone.register_forward_hook(lambda _, given, result: seen.append(tuple(result[0].shape)))
    alone.register_full_backward_hook(lambda _, before, after: seen.append((len(after),)))
    bare = copy.deepcopy(alone)
    for hooks in (bare._forward_pre_hooks, bare._forward_hooks, bare._backward_hooks):
        hooks.clear()
    close(leaves(alone(x, state)), leaves(bare(x * 2, state)))
    found = alone.step(x[:, 0].requires_grad_(), state)
    close(leaves(found), leaves(bare.step(x[:, 0] * 2, state)))
    found[0].sum().backward()
    assert seen[:2] == [(B, T, alone.output_size), (B, alone.output_size)]
    assert len(seen) == 3


def test_pruned_weights_act_and_stay(alone):
    expected, names = copy.deepcopy(alone), matrices(alone)
    for name in names:
        owner, _, weight = name.rpartition(".")
        torch.manual_seed(3)
        prune.random_unstructured(alone.get_submodule(owner), weight, 0.5)
        mask = alone.get_buffer(f"{name}_mask")
        with torch.no_grad():
            expected.get_parameter(name).mul_(mask)
    close(results(alone), results(expected))
    sum(leaf.sin().sum() for leaf in results(alone)).backward()
    for name in names:
        gradient = alone.get_parameter(f"{name}_orig").grad
        assert not gradient[alone.get_buffer(f"{name}_mask") == 0].any(), name


def test_parametrised_weights_act_and_learn(alone):
    expected = [leaf.detach() for leaf in results(alone)]
    for name in matrices(alone):
        owner, _, weight = name.rpartition(".")
        parametrizations.weight_norm(alone.get_submodule(owner), weight)
    found = results(alone)
    close(found, expected)
    sum(leaf.sin().sum() for leaf in found).backward()
    for name, parameter in alone.named_parameters():
        assert parameter.grad is not None, name


# Copies


def test_copies_and_pickles_are_the_same(core):
    expected = results(core)
    close(results(copy.deepcopy(core)), expected, 0.0)
    if any(parametrize.is_parametrized(module) for module in core.modules()):  # WeightDrop
        with pytest.raises(RuntimeError, match=r"parametrized modules is only .* state_dict"):
            pickle.dumps(core)
    else:
        close(results(pickle.loads(pickle.dumps(core))), expected, 0.0)
    state = core(inputs(core, B, T))[1]
    again = pickle.loads(pickle.dumps(map_state(Tensor.detach, state)))
    assert type(again) is type(state)
    close(leaves(again), leaves(state), 0.0)


@pytest.mark.parametrize("name", EVERY)
def test_on_the_meta_device(name):
    """Made without memory, asked for shapes, filled with weights later."""
    real = make(EVERY[name], torch.float32)
    with torch.device("meta"):
        core = EVERY[name]().eval()
    x = inputs(core, B, T, dtype=torch.float32)
    for found, expected in zip(leaves(core(x.to("meta"))), leaves(real(x)), strict=True):
        assert found.is_meta
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if core.causal:
        output, _ = core.step(x[:, 0].to("meta"), core.initial_state(B))
        assert output.is_meta
    with pytest.raises(ValueError, match="x is on cpu and the parameters are on meta"):
        core(x)
    core.to_empty(device="cpu")
    core.load_state_dict(real.state_dict())
    close(results(core, torch.float32), results(real, torch.float32), 0.0)


# Numbers


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(core, dtype):
    expected = [leaf.detach().float() for leaf in results(core)]
    found = results(core.to(dtype), dtype)
    close([leaf.float() for leaf in found], expected, 0.1)
    sum(leaf.float().square().sum() for leaf in found).backward()
    assert all(parameter.grad.isfinite().all() for parameter in core.parameters())


def test_deterministic_mode(core):
    """Nothing refuses it, and two runs are equal to the last bit."""
    core.float()
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(2):
            core.zero_grad()
            found = results(core, torch.float32)
            sum(leaf.sin().sum() for leaf in found).backward()
            runs.append([*found, *(parameter.grad.clone() for parameter in core.parameters())])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


@pytest.mark.parametrize("name", PLAIN)
def test_neither_padding_nor_batch_mates_matter_in_float64(name):
    """Long rows; docs/cores.md says what rounding in float32 makes of them."""
    torch.manual_seed(0)
    core = classes()[name](16, 64).double().eval()
    x, lengths = torch.randn(4, 200, 16, dtype=torch.float64), torch.tensor([200, 31, 150, 90])
    with torch.no_grad():
        output, state = core(x, lengths=lengths)
        for row, length in enumerate(lengths.tolist()):
            alone, last = core(x[row : row + 1, :length])
            torch.testing.assert_close(output[row, :length], alone[0], atol=1e-8, rtol=1e-8)
            close((leaf[row] for leaf in leaves(state)), (leaf[0] for leaf in leaves(last)), 1e-8)


# Transforms of a step; test_function_transforms.py has those of a sequence


def a_step(causal: RecurrentCore) -> tuple[Tensor, Any, dict[str, Tensor]]:
    x = inputs(causal, B, 3)
    with torch.no_grad():
        state = causal(x)[1]
    return x[:, 0], state, {name: value.detach() for name, value in causal.named_parameters()}


def test_step_under_vmap_grad_and_jacrev(causal):
    x, state, parameters = a_step(causal)
    output, after = causal.step(x, state)
    many = map_state(lambda leaf: leaf.unsqueeze(1), state)
    close(
        [leaf.squeeze(1) for leaf in leaves(vmap(causal.step)(x.unsqueeze(1), many))],
        leaves((output, after)),
    )
    found = jacrev(lambda x: causal.step(x, state)[0])(x)
    expected = torch.autograd.functional.jacobian(lambda x: causal.step(x, state)[0], x)
    close([found], [expected])

    def loss(parameters: dict[str, Tensor], x: Tensor, state: Any) -> Tensor:
        output, _ = functional_call(Step(causal), parameters, (x, state))
        return output.sin().sum()

    within = {f"core.{name}": value for name, value in parameters.items()}
    whole = grad(loss)(within, x, state)
    each = vmap(grad(loss), in_dims=(None, 0, 0))(within, x.unsqueeze(1), many)
    total = output.sin().sum()
    gradients = torch.autograd.grad(
        total, list(causal.parameters()), allow_unused=True, materialize_grads=True
    )
    close(whole.values(), gradients)
    close([one.sum(0) for one in each.values()], gradients)


class Step(nn.Module):
    """One step as a module, which `functional_call` takes."""

    def __init__(self, core: RecurrentCore) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: Tensor, state: Any) -> Any:
        return self.core.step(x, state)


def test_step_has_gradients_of_gradients(causal):
    x, state, _ = a_step(causal)
    start = leaves(state)

    def run(x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        rest = iter(parts)
        return tuple(leaves(causal.step(x, map_state(lambda _: next(rest), state))))

    given = [part.clone().requires_grad_() for part in (x, *start)]
    assert torch.autograd.gradgradcheck(run, given, fast_mode=True, atol=1e-5)


# Sharding


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


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view")
def test_layers_are_sharded_one_by_one(name, one_process):
    from torch.distributed.fsdp import fully_shard

    core = make(lambda: Stacked(INPUT, lambda size: classes()[name](size, HIDDEN), num_layers=2))
    expected = results(core)
    sum(leaf.sin().sum() for leaf in expected).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in core.named_parameters()}
    core.zero_grad()
    mesh = init_device_mesh("cpu", (1,))
    for layer in core.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(core, mesh=mesh)
    found = results(core)
    close(found, expected)
    sum(leaf.sin().sum() for leaf in found).backward()
    for name, parameter in core.named_parameters():
        torch.testing.assert_close(parameter.grad.full_tensor(), gradients[name], msg=name)


# The table


def test_the_table_names_a_test_for_every_cell():
    text = (ROOT / "docs/cores.md").read_text(encoding="utf-8")
    table = text.partition("## At home in every tool")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in rows[0]] == ["tool", "`forward`", "`step`", "tests"]
    tests = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/core/*.py"))
    for tool, *_, names in rows[2:]:
        found = re.findall(r"`(test_\w+)`", names)
        assert found, tool
        for name in found:
            assert f"def {name}(" in tests, name
    tools = " ".join(row[0] for row in rows[2:])
    for wanted in (
        "fullgraph", "export", "ONNX", "vmap", "double backward", "fully_shard", "hooks", "prune",
        "parametrize", "deepcopy", "pickle", "meta", "float64", "bfloat16", "float16",
        "deterministic", "CUDA graphs",
    ):  # fmt: skip
        assert wanted in tools, wanted
