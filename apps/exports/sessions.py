"""Files of an exported folder, read: graphs in onnxruntime, and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import DataError, UnrolledError, quoted
from ..shell import reading
from .needs import needed

read_json = partial(reading.read_json, largest=100_000_000)
"""Return what a file of JSON says: the words of a vocabulary are fewer bytes."""


class Graph:
    """A graph in onnxruntime, with torch's tensors in and out.

    Args:
        path: The file.
        size: How many symbols or classes its logits have to be of; None: it gives none.

    Raises:
        DataError: There is no such file, or it is no graph.
        SetupError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        runtime = needed("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # no warnings
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            content = path.read_bytes()
            if any(_elsewhere(needed("onnx").load_model_from_string(content))):
                raise DataError(f"'{path}' takes weights from other files: not loaded.")
            self._session = runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise DataError(f"'{path}' can't be read: {error.strerror}.") from error
        except UnrolledError:
            raise
        except Exception as error:  # the libraries have many kinds of errors of their own
            raise DataError(f"'{path}' is no graph: {quoted(str(error), 200)}.") from error
        self._path, self._size = path, size
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def __call__(self, *given: Tensor) -> list[Tensor]:
        """Compute.

        Args:
            given: The inputs, in their order.

        Raises:
            DataError: The graph does not take them.
        """
        if len(given) != len(self.inputs):
            raise DataError(
                f"'{self._path}' takes {len(self.inputs)} inputs, and this model has "
                f"{len(given)} for it: it is another model's. Export the model again."
            )
        feed = {
            name: value.detach().cpu().contiguous().numpy()
            for name, value in zip(self.inputs, given, strict=True)
        }
        try:
            found = [torch.from_numpy(one) for one in self._session.run(None, feed)]
        except Exception as error:  # the library has many kinds of errors of its own
            raise DataError(f"'{self._path}' failed: {quoted(str(error), 200)}.") from error
        logits = dict(zip(self.outputs, found, strict=True)).get("logits")
        if self._size is not None and (logits is None or logits.shape[-1:] != (self._size,)):
            shape = None if logits is None else tuple(logits.shape)
            raise DataError(
                f"'{self._path}' gives logits {shape}; the folder's vocabulary or classes are "
                f"{self._size:,}."
            )
        return found


def _elsewhere(message: Any) -> Iterator[bool]:
    """Yield for each tensor within a message of protobuf whether another file holds its numbers.

    onnxruntime would open that file, wherever in the folder of the command it lies.
    """
    for field, value in message.ListFields():
        if field.name == "data_location":
            yield value != 0  # TensorProto.DEFAULT
        elif field.message_type is not None:
            for part in value if hasattr(value, "add") else [value]:
                yield from _elsewhere(part)
