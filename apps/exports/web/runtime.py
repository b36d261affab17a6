"""onnxruntime for browsers, out of its npm package: the user's own, or one that npm fetches."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ....data.cache import cache_folder, cached
from ....errors import DataError, SetupError, UsageError, quoted

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
NAME = f"{PACKAGE}-{VERSION}.tgz"  # as npm calls the file
_SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
_SCRIPT, _WASM = "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"
_LARGEST = 100_000_000  # bytes of one file
_EXPORTS = re.compile(r"export\s*\{([^{}]*)\};?\s*(?://# sourceMappingURL=\S*\s*)?$")
_NAME = re.compile(r"([\w$]+)(?:\s+as\s+([\w$]+))?")


class Runtime(NamedTuple):
    """What runs graphs in a browser.

    Attributes:
        version: Of the package.
        script: A script for a page, a module that leaves `globalThis.ort`.
        wasm: What it runs, WebAssembly.
    """

    version: str
    script: str
    wasm: bytes


def runtime_of(given: str | None) -> Runtime:
    """Return the runtime.

    Args:
        given: The npm package: its folder, or the file that `npm pack` writes. None: of the version
            that was tried with `unrolled`, fetched once by npm, and kept in the cache.

    Raises:
        UsageError: There is nothing at that place.
        DataError: What is there is not the package.
        SetupError: There is no npm, or it can't fetch.
    """
    path = Path(given) if given is not None else _fetched()
    if path.is_dir():
        return _of(path, lambda name: _read(path / name))
    if not path.is_file():
        raise UsageError(
            f"'{path}' is not there: --runtime is the folder or .tgz file of the npm package "
            f"{PACKAGE}; `npm pack {PACKAGE}@{VERSION}` writes one."
        )
    try:
        with tarfile.open(path) as archive:
            return _of(path, lambda name: _member(archive, name))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"'{path}' can't be read: {quoted(str(error), 100)}.") from error


def _of(path: Path, read: Callable[[str], bytes]) -> Runtime:
    try:
        script = read(_SCRIPT).decode()
        version = json.loads(read("package.json"))["version"]
        found = _EXPORTS.search(script)
        if found is None or not isinstance(version, str):
            raise ValueError("it is built in another way")
        names = (_NAME.fullmatch(one.strip()) for one in found[1].split(","))
        pairs = ", ".join(f"{name[2] or name[1]}: {name[1]}" for name in names if name is not None)
        return Runtime(
            version,
            # what is imported by nobody leaves a name instead of exporting
            f"{script[: found.start()].rstrip()}\nglobalThis.ort = {{{pairs}}};\n",
            read(_WASM),
        )
    except (KeyError, TypeError, ValueError) as error:  # also of text that is no UTF-8, no JSON
        raise DataError(
            f"'{path}' is not the npm package {PACKAGE} as `unrolled` knows it "
            f"({quoted(str(error), 80)}): take version {VERSION}."
        ) from error


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise KeyError(f"no {path.name}")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path.name} has more than {_LARGEST:,} bytes")
    return path.read_bytes()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.getmember(f"package/{name}")
    file = archive.extractfile(member) if member.isfile() else None
    if file is None or member.size > _LARGEST:
        raise ValueError(f"{name} has more than {_LARGEST:,} bytes")
    return file.read()


def _fetched() -> Path:
    """Return the package in the cache; npm fetches it, from where it is set up to fetch."""
    return cached(cache_folder(kind="npm") / NAME, _fetch)


def _fetch(path: Path) -> None:
    npm = shutil.which("npm")
    remedy = (
        f"Where there is one, `npm pack {PACKAGE}@{VERSION}` writes a file: give it with --runtime."
    )
    if npm is None:
        raise SetupError(f"A page needs the npm package {PACKAGE}, and there is no npm.\n{remedy}")
    print(f"fetching {PACKAGE} {VERSION} with npm", file=sys.stderr, flush=True)
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--silent"]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    if done.returncode or not path.is_file():
        said = (done.stderr or done.stdout).strip().splitlines()
        why = f" ({quoted(said[0], 100)})" if said else ""
        raise SetupError(f"npm could not fetch {PACKAGE} {VERSION}{why}.\n{remedy}")
    if hashlib.sha512(path.read_bytes()).hexdigest() != _SHA512:
        raise SetupError(f"What npm fetched as {PACKAGE} {VERSION} is another file: not used.")
