"""Export a trained model to files that run elsewhere."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from ..checkpoints import WholeFile
from ..errors import SetupError, UsageError
from .run.folder.disk import FULL
from .shell.models import checkpoint_file, summary

Kind = Literal["onnx", "torch", "safetensors", "web"]


def export(
    checkpoint: str,
    *,
    format: Kind = "onnx",
    int8: bool = False,
    out: str | None = None,
    runtime: str | None = None,
    trust: str = "",
) -> None:
    """Export a trained model to files that run elsewhere.

    Args:
        checkpoint: A checkpoint, or the folder of a run.
        format: onnx: graphs for onnxruntime, with the state as inputs and outputs, and a page that
            says how to run them without unrolled; torch: the same as programs of torch.export;
            safetensors: weights without code, and JSON, which every command and `unrolled.load`
            take in a checkpoint's place; web: one page that runs char_lm, and labels a camera's or
            a file's video, in any browser, without a server.
        int8: true: weights of the graphs in 8 bits; size, speed and how far the model then agrees
            with itself are printed.
        out: The folder to write, which must not be there; null: beside the checkpoint, with its
            name and the format's.
        runtime: What runs a page's graph: the npm package onnxruntime-web, a folder or the .tgz
            file of `npm pack`; null: npm fetches it once, into the cache.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    path = checkpoint_file(checkpoint)
    if int8 and format not in ("onnx", "web"):
        raise UsageError(
            f"--int8 is for --format onnx and web; the weights of {format} stay as they are."
        )
    if runtime is not None and format != "web":
        raise UsageError(f"--runtime is for --format web; {format} needs none.")
    folder = Path(out) if out else Path(f"{Path(path).with_suffix('')}-{format}")
    if os.path.lexists(folder):
        raise UsageError(f"'{folder}' is there already: remove it, or name another with --out.")

    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        if format == "web":
            _write_web(path, unfinished, runtime, trust, int8=int8)
        else:
            _write(path, format, unfinished, folder.name, trust)
            if int8:
                _quantise(unfinished)
        unfinished.rename(folder)
    except OSError as error:
        kind = SetupError if error.errno in FULL else UsageError
        raise kind(f"'{folder}' can't be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    size = sum(file.stat().st_size for file in folder.iterdir())
    page, does = (
        ("index.html", "is the page") if format == "web" else ("README.md", "says how to run it")
    )
    print(f"{folder}: {size / 1e6:,.1f} MB; {folder / page} {does}")


def _write(path: WholeFile, format: Kind, folder: Path, place: str, trust: str) -> None:
    if format == "safetensors":
        from ..loading import CheckedCheckpoint
        from .exports.weights import write_weights

        write_weights(CheckedCheckpoint(path, trust=trust), folder, f"./{place}", trust=trust)
        return
    from ..loading import load
    from .exports.folder import Files, write_folder
    from .exports.onnx_files import OnnxFiles
    from .exports.torch_files import TorchFiles

    model = load(path, trust=trust)
    files: Files = OnnxFiles(folder) if format == "onnx" else TorchFiles(folder)
    write_folder(model, files)


def _write_web(
    path: WholeFile, folder: Path, runtime: str | None, trust: str, *, int8: bool
) -> None:
    """Write the page of a model: its graphs, in a folder that is only passed through, in one."""
    from ..loading import load
    from .exports.folder import write_folder
    from .exports.needs import needed
    from .exports.onnx_files import OnnxFiles
    from .exports.web.page import check, write_page
    from .exports.web.runtime import runtime_of

    model = load(path, trust=trust)
    check(model)
    needed("onnxscript")  # before anything is fetched
    runs = runtime_of(runtime)
    about = summary(model)
    with tempfile.TemporaryDirectory() as other:
        write_folder(model, OnnxFiles(Path(other)))
        if int8:
            _quantise(Path(other))
        write_page(Path(other), folder, runs, about)


def _quantise(folder: Path) -> None:
    """Bring the graphs into 8 bits, and print what that gains and costs."""
    from .exports.comparing import compared
    from .exports.int8 import quantise

    with tempfile.TemporaryDirectory() as other:
        whole = Path(shutil.copytree(folder, Path(other) / "whole"))
        quantise(folder)
        rows = zip(("float32", "int8"), compared(whole, folder), strict=True)
    print("weights\tMB\tus a step\tnats a symbol\tsame choice")
    for name, (megabytes, microseconds, nats, agreement) in rows:
        print(f"{name}\t{megabytes:.2f}\t{microseconds:.0f}\t{nats:.4f}\t{agreement:.1%}")
