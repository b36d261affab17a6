"""Export a trained model to files that run elsewhere."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from ..checkpoints import WholeFile
from ..errors import UsageError
from .shell.models import checkpoint_file

Kind = Literal["onnx", "torch", "safetensors"]


def export(
    checkpoint: str,
    *,
    format: Kind = "onnx",
    int8: bool = False,
    out: str | None = None,
    trust: str = "",
) -> None:
    """Export a trained model to files that run elsewhere.

    Args:
        checkpoint: A checkpoint, or the folder of a run.
        format: onnx: graphs for onnxruntime, with the state as inputs and outputs, and a page that
            says how to run them without unrolled; torch: the same as programs of torch.export;
            safetensors: weights without code, and JSON, which every command and `unrolled.load`
            take in a checkpoint's place.
        int8: true: weights of the graphs in 8 bits; size, speed and how far the model then agrees
            with itself are printed.
        out: The folder to write, which must not be there; null: beside the checkpoint, with its
            name and the format's.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    path = checkpoint_file(checkpoint)
    if int8 and format != "onnx":
        raise UsageError(f"--int8 is for --format onnx; the weights of {format} stay as they are.")
    folder = Path(out) if out else Path(f"{Path(path).with_suffix('')}-{format}")
    if os.path.lexists(folder):
        raise UsageError(f"'{folder}' is there already: remove it, or name another with --out.")

    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        _write(path, format, unfinished, folder.name, trust)
        if int8:
            _quantise(unfinished)
        unfinished.rename(folder)
    except OSError as error:
        raise UsageError(f"'{folder}' can't be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 1e6:,.1f} MB; {folder / 'README.md'} says how to run it")


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
