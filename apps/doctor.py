"""Check the installation, and name the command that mends it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple

from ..errors import SetupError
from ..loading import torch_problem

_INSTALL = f"{sys.executable} -m pip install"
_NEEDED = (
    "jsonargparse",
    "torchmetrics",
    "tensorboard",
    "datasets",
    "platformdirs",
    "filelock",
    "rich",
    "numpy",
)


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        level: `ok`, `note` (something to know), or `BAD` (something needed is broken).
        text: What was found.
        remedy: The command or the step that mends it.
    """

    level: str
    text: str
    remedy: str = ""


def doctor() -> int:
    """Check the installation, and name the command that mends it.

    Exit code 4 where something needed is broken.
    """
    worst = 0
    for finding in findings():
        print(f"{finding.level:<5}{finding.text}")
        if finding.remedy:
            print(f"     -> {finding.remedy}")
        worst = 4 if finding.level == "BAD" else worst
    print("Something that unrolled needs is broken." if worst else "All that unrolled needs works.")
    return worst


def findings() -> Iterator[Finding]:
    """Yield what there is to say about this machine."""
    from .. import __version__

    yield Finding(
        "ok", f"unrolled {__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    torch_works = False
    for finding in _torch():
        torch_works |= finding.level == "ok" and finding.text.startswith("torch ")
        yield finding
    yield from _lightning(torch_works)
    for name in _NEEDED:
        if not _version(name):
            yield Finding("BAD", f"{name} is not installed", f"{_INSTALL} {name}")
    yield from _jsonargparse()
    yield from _optional()
    yield _script()
    yield _writable("cache", _cache)
    yield _writable("working folder, for runs/,", Path.cwd)


def _cache() -> Path:
    from ..data.cache import cache_folder

    return cache_folder().parent


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _precision() -> str:
    from .shell.processor import multiplies_bf16

    if multiplies_bf16():
        return "which multiplies in bfloat16: --trainer.precision bf16-mixed trains faster"
    return "which has no products in bfloat16: float32 (the default) trains fastest"


def _torch() -> Iterator[Finding]:
    version = _version("torch")
    if version is None:
        yield Finding("BAD", "torch is not installed", f"{_INSTALL} torch torchvision")
        return
    try:
        torch = import_module("torch")
    except (ImportError, OSError) as error:
        remedy = f"{_INSTALL} --force-reinstall torch torchvision"
        yield Finding("BAD", f"torch {version} does not import: {_reason(error)}", remedy)
        return
    threads = torch.get_num_threads()
    used = f"{threads} thread{'s' if threads > 1 else ''} used"
    yield Finding("ok", f"torch {torch.__version__}, {os.cpu_count()} CPU cores, {used}")
    if problem := torch_problem(torch.__version__):
        remedy = f"load only checkpoints of your own, or: {_INSTALL} --upgrade torch torchvision"
        yield Finding("note", problem, remedy)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield Finding(
                "ok", f"cuda:{index} {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
            )
    elif shutil.which("nvidia-smi"):
        remedy = (
            "compare the driver (nvidia-smi) with torch.version.cuda; update the driver, or "
            "install torch for it"
        )
        yield Finding("note", "there is an NVIDIA driver, but torch sees no GPU", remedy)
    elif torch.backends.mps.is_available():
        yield Finding("ok", "mps (Apple GPU)")
    else:
        yield Finding("ok", f"no GPU: the CPU is used, {_precision()}")
    try:
        vision = import_module("torchvision")
        yield Finding("ok", f"torchvision {vision.__version__}")
    except (ImportError, OSError, RuntimeError) as error:
        # beside another build of torch its operators fail to load, and Lightning's import with them
        yield Finding(
            "BAD",
            f"torchvision {_version('torchvision') or 'is missing'}: {_reason(error)}",
            f"{_INSTALL} --force-reinstall torch torchvision, both from the same index",
        )


def _lightning(torch_works: bool) -> Iterator[Finding]:
    version = _version("lightning")
    remedy = f'{_INSTALL} "lightning>=2.6.6,<3"'
    if version is None:
        yield Finding("BAD", "lightning is not installed", remedy)
    elif version in ("2.6.2", "2.6.3"):
        yield Finding(
            "BAD", f"lightning {version} is a malicious upload (GHSA-w37p-236h-pfx3)", remedy
        )
    elif _number(version) < (2, 6, 6):
        yield Finding(
            "BAD", f"lightning {version} runs code from checkpoints (CVE-2026-58659)", remedy
        )
    elif torch_works:
        try:
            import_module("lightning.pytorch")
            yield Finding("ok", f"lightning {version}")
        except (ImportError, OSError, RuntimeError) as error:
            yield Finding("BAD", f"lightning {version} does not import: {_reason(error)}", remedy)


def _jsonargparse() -> Iterator[Finding]:
    version = _version("jsonargparse")
    if version and not (4, 39) <= _number(version) < (5,):
        remedy = f'{_INSTALL} "jsonargparse[signatures]>=4.39,<5"'
        yield Finding("BAD", f"jsonargparse {version}: 4.39 or newer, below 5, is needed", remedy)


def _optional() -> Iterator[Finding]:
    """Yield what is used where it is installed, and often fails to load."""
    own = f'{_INSTALL} "unrolled[torchtext]" in its own environment'
    ffmpeg = "install FFmpeg's libraries, or take torchcodec away: PyAV reads videos without it"
    remedies = {"torchcodec": ffmpeg, "torchtext": f"it loads with torch 2.3 only: {own}"}
    for name, remedy in remedies.items():
        version = _version(name)
        if version is None:
            continue
        try:
            import_module(name)
            yield Finding("ok", f"{name} {version}")
        except (ImportError, OSError, RuntimeError) as error:
            yield Finding("note", f"{name} {version} does not work: {_reason(error)}", remedy)


def _script() -> Finding:
    """Say whose the `lightning` command is: a later `lightning-sdk` overwrites ours."""
    folder = Path(sysconfig.get_path("scripts"))
    script = next(
        (path for path in (folder / "lightning", folder / "lightning.exe") if path.is_file()), None
    )
    again = (
        f"use `unrolled`, which means the same, or: {_INSTALL} --force-reinstall --no-deps unrolled"
    )
    if script is None:
        return Finding("note", "there is no `lightning` command beside this Python", again)
    if b"unrolled" not in script.read_bytes():
        owner = "lightning-sdk" if _version("lightning-sdk") else "another package"
        return Finding("note", f"the command `lightning` belongs to {owner}", again)
    first = shutil.which("lightning")
    if first and Path(first).resolve() != script.resolve():
        return Finding(
            "note",
            f"the shell finds another `lightning` first: {first}",
            f"put {folder} first in PATH",
        )
    return Finding("ok", "the command `lightning` is ours")


def _writable(what: str, folder: Callable[[], Path]) -> Finding:
    try:
        path = folder()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            free = shutil.disk_usage(path).free / 2**30
    except (OSError, SetupError) as error:
        remedy = (
            "set UNROLLED_CACHE to a folder of yours"
            if what == "cache"
            else "change to a folder of yours"
        )
        return Finding("BAD", f"{what} can't be written: {_reason(error)}", remedy)
    level, remedy = (
        ("ok", "")
        if free >= 1
        else ("note", "free some space: checkpoints and prepared data need it")
    )
    return Finding(level, f"{what} {path} is writable, {free:.1f} GiB free", remedy)
