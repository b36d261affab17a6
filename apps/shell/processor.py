"""What this processor is good at."""

from __future__ import annotations

import platform
from functools import cache


@cache
def multiplies_bf16() -> bool:
    """Say whether the processor has products of bfloat16 numbers: then `bf16-mixed` is faster.

    Without them they are put together from others, which is slower than float32. Where torch is too
    old to tell, the answer is no.
    """
    import torch

    if platform.machine().lower() in ("arm64", "aarch64"):
        capabilities = getattr(torch.cpu, "get_capabilities", None)
        return bool(capabilities and capabilities().get("bf16"))
    # public names for these come with get_capabilities, in other spellings for each release
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)
