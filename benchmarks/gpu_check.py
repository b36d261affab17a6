"""What only a GPU can show, in one command of some minutes: right, without waiting, and how fast.

Each check prints a line as it ends, and all of them go into a JSON file; a check that fails doesn't
end the others. Then a table of training steps of every core beside cuDNN's LSTM and GRU, with
the fraction of what the device needs for the products and the memory traffic alone.

    make gpu-check                                       # on a machine with one GPU
    python benchmarks/gpu_check.py --device cpu --tiny   # the same steps, dry, on any machine

Shapes: B batch, T time, H hidden (and input).
"""

from __future__ import annotations

import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from cores import Run, bound, training
from measure import head, line, parser
from torch import Tensor, nn
from unrolled.core import Stacked, discover_cores, linear_recurrence
from unrolled.core.kernels import scan
from unrolled.core.state import leaves

ROOT = Path(__file__).resolve().parent.parent
TASKS = {
    "char_lm": "--data.batch_size 8",
    "translation": "--data.num_sentences 2000 --data.num_val 50 --data.num_test 50",
    "captioning": "--data.train_size 500 --data.val_size 50 --data.test_size 50",
    "video": "--data.train_clips 20 --data.val_clips 4 --data.test_clips 4",
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Setting(NamedTuple):
    """Where the checks run, and whether they are to be small."""

    device: torch.device
    tiny: bool

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"


def wait(setting: Setting) -> None:
    """Wait until the device has done what it was told."""
    if setting.cuda:
        torch.cuda.synchronize()


def seconds(run: Run, setting: Setting) -> float:
    """Return the seconds of a call on the wall's clock, until the device is done."""
    wait(setting)
    start = time.perf_counter()
    run()
    wait(setting)
    return time.perf_counter() - start


def command(*words: str) -> None:
    """Run a command of this Python; its last lines say what went wrong."""
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(" / ".join((done.stdout + done.stderr).strip().splitlines()[-4:]))


@contextlib.contextmanager
def no_waiting(setting: Setting) -> Iterator[None]:
    """Let everything raise that makes the processor wait for the GPU."""
    if setting.cuda:
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if setting.cuda:
            torch.cuda.set_sync_debug_mode("default")


def worst(found: Any, expected: Any) -> float:
    """Return the largest difference of two nests of tensors, beside the largest number in them."""
    pairs = [*zip(leaves(found), leaves(expected), strict=True)]
    return max(
        float((one.cpu().double() - other.cpu().double()).abs().max())
        / max(1.0, float(other.abs().max()))
        for one, other in pairs
        if other.numel()
    )


def plain_cores() -> list[str]:
    """Return the cores that are no compositions."""
    everything = discover_cores()
    return [name for name, cls in everything.items() if "core" not in cls.__init__.__annotations__]


def core_tests(setting: Setting) -> Iterator[tuple[str, str]]:
    """Run the tests of the cores with everything on the device."""
    only = ["tests/core/test_state.py"] if setting.tiny else ["tests/core", "-m", "not slow"]
    command(
        "pytest", *only, "--device", setting.device.type, "-q", "-n", "2" if setting.tiny else "8"
    )
    yield "tests/core", "passed"


def linear_scan(setting: Setting) -> Iterator[tuple[str, str]]:
    """Compare the linear recurrence with its plain loop in double precision, and its gradients."""
    batch, steps, hidden = (2, 40, 8) if setting.tiny else (8, 4096, 512)
    for dtype in DTYPES:
        torch.manual_seed(0)
        a = torch.rand(steps, batch, hidden, dtype=torch.float64)  # (T, B, H)
        b, start = torch.randn_like(a), torch.randn(batch, hidden, dtype=torch.float64)
        expected = start
        rows = []
        for step in range(steps):
            expected = a[step] * expected + b[step]
            rows.append(expected)
        given = [value.to(setting.device, dtype).requires_grad_() for value in (a, b, start)]
        found = linear_recurrence(*given)
        found.float().sum().backward()
        error = worst(found.detach(), torch.stack(rows))
        limit = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}[dtype]
        if error > limit or not all(bool(value.grad.isfinite().all()) for value in given):
            raise RuntimeError(f"{dtype}: {error:.1e}, more than {limit:.0e}")
        yield f"linear_recurrence {dtype}, Triton {scan.has_triton()}", f"error {error:.1e}"


def same_as_cpu(setting: Setting) -> Iterator[tuple[str, str]]:
    """Compare every core with itself on the CPU: output, state and gradients."""
    batch, steps, hidden = (2, 5, 8) if setting.tiny else (8, 64, 128)
    for name in plain_cores():
        torch.manual_seed(0)
        core = discover_cores()[name](hidden, hidden)
        x = torch.randn(batch, steps, hidden)
        lengths = torch.randint(0, steps + 1, (batch,))
        reset = torch.rand(batch, steps) < 0.1
        results = []
        for device in (torch.device("cpu"), setting.device):
            core.to(device).zero_grad()
            output, state = core(x.to(device), lengths=lengths, reset=reset)
            output.square().sum().backward()
            grads = tuple(weight.grad.cpu() for weight in core.parameters())
            results.append((output.detach(), *leaves(state), *grads))
        yield name, f"difference {worst(results[1], results[0]):.1e}"


def compiled(setting: Setting) -> Iterator[tuple[str, str]]:
    """Compile a layer as `--model.compile_core true` does, and compare it with itself."""
    hidden = 8 if setting.tiny else 256
    for name in ("LSTM", "MinGRU"):
        torch.manual_seed(0)
        core = discover_cores()[name](hidden, hidden).to(setting.device)
        x = torch.randn(4, 32, hidden, device=setting.device)
        before = core(x)[0].detach()
        core.compile(backend="eager" if setting.tiny else "inductor")
        yield name, f"difference {worst(core(x)[0].detach(), before):.1e}"


def graphs_of_steps(setting: Setting) -> Iterator[tuple[str, str]]:
    """Capture a step of every core in a CUDA graph; compare and time it."""
    hidden = 8 if setting.tiny else 256
    for name in plain_cores():
        torch.manual_seed(0)
        core = discover_cores()[name](hidden, hidden).to(setting.device).eval()
        x = torch.randn(1, hidden, device=setting.device)
        with torch.inference_mode():
            state = core.initial_state(1, device=setting.device)
            step = core.stepper()
            expected = step(x, state)[0].clone()
            if not setting.cuda:
                yield name, "no graph without CUDA"
                continue
            side = torch.cuda.Stream()
            with torch.cuda.stream(side):
                for _ in range(3):
                    step(x, state)
            side.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output, _ = step(x, state)
            graph.replay()
            error = worst(output, expected)
            call = partial(step, x, state)
            eager = statistics.median(seconds(call, setting) for _ in range(20))
            replay = statistics.median(seconds(graph.replay, setting) for _ in range(20))
        yield name, f"difference {error:.1e}, {eager * 1e6:.0f} us eager, {replay * 1e6:.0f} graph"


def without_waiting(setting: Setting) -> Iterator[tuple[str, str]]:
    """Train a step with lengths and resets, during which nothing may wait for the GPU."""
    batch, steps, hidden = (2, 5, 8) if setting.tiny else (16, 64, 128)
    lengths = torch.randint(1, steps + 1, (batch,))
    reset = torch.rand(batch, steps) < 0.05
    for name in plain_cores():
        core = Stacked(
            hidden, lambda size, name=name: discover_cores()[name](size, hidden), num_layers=2
        )
        core.to(setting.device)
        x = torch.randn(batch, steps, hidden, device=setting.device)
        core(x, lengths=lengths, reset=reset)[0].sum().backward()  # what is made once
        wait(setting)
        with no_waiting(setting):
            core(x, lengths=lengths, reset=reset)[0].sum().backward()
        yield name, "waits for nothing"


def tasks(setting: Setting) -> Iterator[tuple[str, str]]:
    """Train each task, go on with it, and train it as one process of several."""
    steps = (2, 4) if setting.tiny else (200, 300)
    accelerator = "gpu" if setting.cuda else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        for task, flags in TASKS.items():
            common = [
                "unrolled", "fit", task, *flags.split(), "--trainer.accelerator", accelerator,
                "--trainer.devices", "1", "--trainer.default_root_dir", folder,
                "--trainer.limit_val_batches", "2", "--trainer.max_epochs", "-1",
            ]  # fmt: skip
            if setting.tiny and task != "char_lm":
                continue  # minutes on a CPU
            start = time.perf_counter()
            command(*common, "--name", "one", "--trainer.max_steps", str(steps[0]))
            command(*common, "--name", "one", "--resume", "--trainer.max_steps", str(steps[1]))
            yield f"{task}: trained and resumed", f"{time.perf_counter() - start:.0f} s"
            command(
                *common, "--name", "ddp", "--trainer.max_steps", str(steps[0]),
                "--trainer.strategy", "ddp",
            )  # fmt: skip
            yield f"{task}: ddp of one process", "trained"


CHECKS: tuple[Callable[[Setting], Iterator[tuple[str, str]]], ...] = (
    linear_scan,
    same_as_cpu,
    without_waiting,
    graphs_of_steps,
    compiled,
    tasks,
    core_tests,
)


def carry_out(setting: Setting) -> list[dict[str, Any]]:
    """Carry out the checks one by one, with a line for each of their parts."""
    results: list[dict[str, Any]] = []

    def tell(check: str, what: str, value: str, *, ok: bool) -> None:
        results.append({"check": check, "what": what, "value": value, "ok": ok})
        line(check, what, value, "" if ok else "**failed**")

    head("check", "of what", "found", "")
    for check in CHECKS:
        try:
            for what, value in check(setting):
                tell(check.__name__, what, value, ok=True)
        except Exception as error:  # the others shall run
            tell(check.__name__, "", f"{type(error).__name__}: {error}"[:500], ok=False)
    return results


def autocast(run: Run, setting: Setting, dtype: torch.dtype) -> Run:
    """Make a run that computes in another precision where that is safe."""

    def inside() -> None:
        with torch.autocast(setting.device.type, dtype, enabled=dtype != torch.float32):
            run()

    return inside


def core_table(
    setting: Setting, sizes: list[tuple[int, int, int]], rounds: int
) -> list[dict[str, Any]]:
    """Time forward and backward of a layer of every core, beside cuDNN and the ceilings."""
    found: list[dict[str, Any]] = []
    for (batch, steps, hidden), dtype in [(size, dtype) for size in sizes for dtype in DTYPES[:2]]:
        print(f"\n### Forward + backward at (B, T, H) = ({batch}, {steps}, {hidden}), {dtype}\n")
        head("layer", "ms", "of the ceilings", "cuDNN LSTM takes", "peak MiB")
        with torch.device(setting.device):
            x = torch.randn(batch, steps, hidden, requires_grad=True)
            layers: dict[str, nn.Module] = {
                "nn.LSTM": nn.LSTM(hidden, hidden, batch_first=True),
                "nn.GRU": nn.GRU(hidden, hidden, batch_first=True),
                **{name: discover_cores()[name](hidden, hidden) for name in plain_cores()},
            }
        reference = 0.0
        for name, layer in layers.items():
            try:
                row = one_layer(layer, x, dtype, setting, rounds)
            except (RuntimeError, ValueError) as error:  # memory, or a precision that is not there
                line(name, type(error).__name__, "", "", "")
                continue
            reference = reference or row["ms"]
            row |= {"layer": name, "size": [batch, steps, hidden], "dtype": str(dtype)}
            row["lstm_ratio"] = reference / row["ms"]
            found.append(row)
            share = f"{row['share']:.0%}" if row["share"] else "-"
            line(name, f"{row['ms']:.2f}", share, f"{row['lstm_ratio']:.2f}x", f"{row['mib']:.0f}")
    return found


def one_layer(
    layer: nn.Module, x: Tensor, dtype: torch.dtype, setting: Setting, rounds: int
) -> dict[str, Any]:
    """Time one layer: its milliseconds, the fraction of the ceilings, its peak memory."""
    run = autocast(training(layer, x), setting, dtype)
    run()
    if setting.cuda:
        torch.cuda.reset_peak_memory_stats()
    took = statistics.median(seconds(run, setting) for _ in range(rounds))
    peak = torch.cuda.max_memory_allocated() / 2**20 if setting.cuda else 0.0
    share = 0.0
    if not isinstance(layer, nn.RNNBase):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with torch.device(setting.device):
                least = bound(layer, x.shape[0], x.shape[1])  # type: ignore[arg-type]
        finally:
            torch.set_default_dtype(before)
        least()
        share = statistics.median(seconds(least, setting) for _ in range(rounds)) / took
    return {"ms": took * 1e3, "share": share, "mib": peak}


def main() -> int:
    """Check, measure, and write the file; 1 where a check has failed."""
    options = parser(__doc__)
    options.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options.add_argument("--tiny", action="store_true", help="sizes that say nothing, in a minute")
    options.add_argument("--sizes", default="64x512x512,128x1024x1024,512x512x1024,64x4096x512")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", default="gpu_check.json", help="the file of all results")
    arguments = options.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print(
            "There is no CUDA device here: --device cpu --tiny runs the same steps dry.",
            file=sys.stderr,
        )
        return 4
    setting = Setting(torch.device(arguments.device), arguments.tiny)
    name = torch.cuda.get_device_name() if setting.cuda else platform.machine()
    print(f"{name}, torch {torch.__version__}\n")
    begun = time.perf_counter()
    sizes = "2x4x8" if arguments.tiny else arguments.sizes
    checks = carry_out(setting)
    table = core_table(
        setting,
        [tuple(map(int, size.split("x"))) for size in sizes.split(",")],  # type: ignore[misc]
        1 if arguments.tiny else arguments.rounds,
    )
    content = {"device": name, "torch": torch.__version__, "checks": checks, "cores": table}
    Path(arguments.out).write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(f"\n{time.perf_counter() - begun:.0f} s; everything is in {arguments.out}")
    return int(not all(check["ok"] for check in checks))


if __name__ == "__main__":
    raise SystemExit(main())
