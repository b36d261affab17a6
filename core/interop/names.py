"""Torch's names of weights, which cores load beside their own."""

from __future__ import annotations

import re
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

_TORCHS = re.compile(r"(\w+?)(_l\d+(?:_reverse)?)")  # weight_ih_l0_reverse: the weight, its place


class TorchNamed(nn.Module):
    """A module that loads the state dict of a torch module as well as its own.

    So a checkpoint with `encoder.weight_ih_l1_reverse` goes into a stack at `encoder`; names that
    have no place stay as they are, and `load_state_dict` reports them.
    """

    def torch_places(self) -> dict[str, str]:
        """Return where each layer and direction of a torch module belongs.

        Returns:
            The name of a submodule ("" for this one) by torch's suffix, such as `_l0_reverse`; none
            where no torch module is like this one.
        """
        return {}

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        places = self.torch_places()
        for key in [key for key in state_dict if key.startswith(prefix)] if places else ():
            match = _TORCHS.fullmatch(key, len(prefix))
            if match is None or match[2] not in places:
                continue
            name, place = match[1], places[match[2]]
            if parametrize.is_parametrized(self.get_submodule(place), name):
                name = f"parametrizations.{name}.original"
            state_dict[f"{prefix}{place}{'.' if place else ''}{name}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def within(name: str, places: dict[str, str]) -> dict[str, str]:
    """Say the places of a submodule as seen from the module that has it.

    Args:
        name: The submodule's name.
        places: Its places.
    """
    return {suffix: f"{name}.{place}".rstrip(".") for suffix, place in places.items()}
