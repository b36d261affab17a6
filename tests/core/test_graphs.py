"""Every core in one graph: compiled without a break, exported, in ONNX, captured on a GPU.

`fullgraph` is the doing of dynamo, so that its cheap backends tell. Dynamo takes seconds a core:
here one goes through in the ordinary suite, the others in the slow one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from unrolled.core import GRU, RecurrentCore, Stacked
from unrolled.core.kernels import loops
from unrolled.core.state import leaves

from .conftest import CAUSAL, EVERY, INPUT, make

B, T = 3, 6
QUICK = "RNN"

# torch warns of things of its own while it compiles and exports
pytestmark = pytest.mark.filterwarnings("default")


def each(names: dict[str, Any]) -> Any:
    """All cores, of which the slow suite has all but one."""
    return pytest.mark.parametrize(
        "name", [n if n == QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names]
    )


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    """Dynamo counts recompilations of a function over all of a process."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, INPUT, dtype=torch.float64)


def a_state(core: RecurrentCore, batch: int = B) -> Any:
    with torch.no_grad():
        return core(inputs(batch, 2))[1]


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    assert type(found[1]) is type(expected[1])
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


@each(EVERY)
def test_forward_is_one_compiled_graph(name):
    """With its gradients, by the operator that holds the loop over time once."""
    core = make(EVERY[name])
    compiled = torch.compile(core, fullgraph=True, backend="eager")
    x, state = inputs(B, T).requires_grad_(), a_state(core)
    wanted = [x, *core.parameters()]
    found = []
    for run in (compiled, core):
        result = run(x, state)
        total = sum(leaf.sin().sum() for leaf in leaves(result))
        found.append((result, torch.autograd.grad(total, wanted)))
    close(*(result for result, _ in found))
    for one, other in zip(*(gradients for _, gradients in found), strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


@each(CAUSAL)
def test_step_is_one_compiled_graph(name):
    core = make(CAUSAL[name])
    compiled = torch.compile(core.step, fullgraph=True, backend="eager")
    x, state = inputs(B), a_state(core)
    close(compiled(x, state), core.step(x, state))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "GRU",
        pytest.param(
            "SLSTM",
            marks=pytest.mark.xfail(
                strict=True, reason="torch's scan wants its gradients in one layout of memory"
            ),
        ),
        "Stacked",
    ],
)
def test_forward_is_one_graph_of_inductor(name):
    core = make(EVERY[name])
    x = inputs(B, T).requires_grad_()
    found = torch.compile(core, fullgraph=True)(x)
    close(found, core(x))
    found[0].sum().backward()
    assert all(parameter.grad is not None for parameter in core.parameters())


def test_the_loop_is_in_the_graph_once():
    """A hundred steps take no more nodes than ten would."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    core, x = make(lambda: GRU(INPUT, 4)), inputs(B, 100)
    close(torch.compile(core, fullgraph=True, backend=keep)(x), core(x))
    assert len(graphs) == 1
    assert len(graphs[0].graph.nodes) < 40


@pytest.mark.slow
def test_graphs_with_breaks_keep_the_kernels(monkeypatch):
    """Where a break is allowed, torch's kernels and gradients written by hand run as ever."""
    core = make(lambda: Stacked(INPUT, lambda size: GRU(size, 4), num_layers=2))
    monkeypatch.setattr(loops, "_scan", lambda: pytest.fail("the operator took the kernel's place"))
    x = inputs(B, T)
    close(torch.compile(core, backend="eager")(x), core(x))


@pytest.mark.parametrize("kind", ["lengths", "reset"])
def test_lengths_and_resets_say_why_they_are_not_to_be_had(kind):
    core = make(lambda: GRU(INPUT, 4))
    masks = {"lengths": torch.tensor([1, 6, 0]), "reset": torch.zeros(B, T, dtype=torch.bool)}
    x, given = inputs(B, T), {kind: masks[kind]}
    with pytest.raises(Exception, match="GRU: lengths and resets cut a batch where their values"):
        torch.compile(core, fullgraph=True, backend="eager")(x, **given)
    with pytest.raises(ValueError, match="export the forward without them, or the step"):
        torch.export.export(core, (x,), given)


class Step(nn.Module):
    """One step as a module, which torch exports."""

    def __init__(self, core: RecurrentCore) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: Tensor, state: Any) -> Any:
        return self.core.step(x, state)


def exported(module: nn.Module, x: Tensor, state: Any, *axes: str) -> torch.export.ExportedProgram:
    """Export with names of dynamic axes of x, the first of which is the state's, too."""
    dims = {name: torch.export.Dim(name) for name in axes}
    batch = {0: dims[axes[0]]}
    shapes = (dict(enumerate(dims.values())), tree_map(lambda _: batch, state))
    return torch.export.export(module.eval(), (x, state), dynamic_shapes=shapes)


@each(EVERY)
def test_forward_is_exported_for_any_batch_and_time(name):
    core = make(EVERY[name])
    program = exported(core, inputs(B + 1, T), a_state(core, B + 1), "batch", "time")
    for batch, time in ((2, 3), (5, 11)):
        x, state = inputs(batch, time), a_state(core, batch)
        close(program.module()(x, state), core(x, state))


@each(CAUSAL)
def test_step_is_exported_for_any_batch(name):
    core = make(CAUSAL[name])
    program = exported(Step(core), inputs(B + 1), a_state(core, B + 1), "batch")
    for batch in (2, 7):
        x, state = inputs(batch), a_state(core, batch)
        close(program.module()(x, state), core.step(x, state))


def in_onnx(program: torch.export.ExportedProgram, x: Tensor, state: Any) -> list[Any]:
    """Run an exported program in onnxruntime."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason=f"{module} is not installed: unrolled[export]")
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.onnx.export(program, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(model.model_proto.SerializeToString())
    names = [given.name for given in session.get_inputs()]
    values = [tensor.detach().numpy() for tensor in (x, *leaves(state))]
    return session.run(None, dict(zip(names, values, strict=True)))


@each(CAUSAL)
def test_step_runs_in_onnxruntime(name):
    core = make(CAUSAL[name], torch.float32)
    x, state = inputs(B + 1).float(), tree_map(Tensor.float, a_state(make(CAUSAL[name]), B + 1))
    program = exported(Step(core), x, state, "batch")
    x, state = inputs(2).float(), tree_map(lambda leaf: leaf[:2], state)
    for one, other in zip(in_onnx(program, x, state), leaves(core.step(x, state)), strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GRU", "MinGRU", "Stacked-Bidirectional"])
def test_forward_runs_in_onnxruntime_for_any_batch_and_time(name):
    core = make(EVERY[name], torch.float32)
    state = core.initial_state(B + 1)
    program = exported(core, inputs(B + 1, T).float(), state, "batch", "time")
    x, state = inputs(2, 9).float(), core.initial_state(2)
    for one, other in zip(in_onnx(program, x, state), leaves(core(x, state)), strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", CAUSAL)
def test_steps_are_captured_in_a_cuda_graph(name):
    core = make(CAUSAL[name], torch.float32).cuda()
    x, state = inputs(B).float().cuda(), core.initial_state(B)
    with torch.no_grad():
        for run in (core.step, core.stepper()):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                run(x, state)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                found = run(x, state)
            x.copy_(torch.randn_like(x))
            graph.replay()
            close(found, core.step(x, state), 1e-5)
