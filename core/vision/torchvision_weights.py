"""Weights of torchvision's classifiers: downloaded and checked, or read from a file as data."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch import Tensor, nn


def fetch_weights(name: str, weights: str, preset: Any) -> Any:
    """Read weights from a file, as data, or download torchvision's and check their hash.

    Args:
        name: The model's name.
        weights: `default` or a file.
        preset: torchvision's weights of the model, None where it has none.

    Raises:
        ValueError: They can't be had.
    """
    try:
        if weights != "default":
            return torch.load(weights, map_location="cpu", weights_only=True)
        if preset is not None:
            return preset.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(
            f"TorchvisionBackbone: no file '{weights}' with weights; or say default, none"
        ) from error
    except OSError as error:
        if weights != "default":
            raise ValueError(
                f"TorchvisionBackbone: the weights of {name} can't be read: '{weights}': "
                f"{error.strerror or error}"
            ) from error
        raise ValueError(  # no network, or a download that went wrong
            f"TorchvisionBackbone: the weights of {name} could not be downloaded ({error}); give a "
            "file in place of default, or none for random ones"
        ) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"TorchvisionBackbone: the weights of {name} can't be read: {str(error)[:150]}"
        ) from error
    raise ValueError(
        f"TorchvisionBackbone: torchvision has no weights for '{name}'; take weights none, or a "
        "file"
    )


def load_weights(network: nn.Module, state: Any, source: str, whole: set[str]) -> None:
    """Load a state dict into a part of a model; what only the rest of the model has is left out.

    Args:
        network: The part.
        state: The state dict, also within a checkpoint's `state_dict` or with the prefix of a
            `DataParallel`.
        source: What to call it in an error message.
        whole: Names in the state dict of the whole model.

    Raises:
        ValueError: It is no state dict, or names or shapes differ; the first are listed.
    """
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ValueError(f"TorchvisionBackbone: {source} holds no state dict")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    own = network.state_dict()
    wrong = [
        f"{name} is missing"
        for name in own
        if name not in state and not name.endswith("num_batches_tracked")
    ]
    wrong += [f"{name} is unknown" for name in state if name not in own and name not in whole]
    wrong += [
        f"{name} is {tuple(state[name].shape)} and not {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(
            f"TorchvisionBackbone: the weights don't fit ({source}): {'; '.join(wrong[:3])}{more}"
        )
    network.load_state_dict({name: state.get(name, value) for name, value in own.items()})
