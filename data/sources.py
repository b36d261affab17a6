"""Where text comes from: documents, read in blocks of bytes, as often as needed."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DataError, SetupError, UsageError, did_you_mean, quoted, some
from .cache import cached, key_of, stamps, unusable, workplace
from .formats.folders import files_in, missing_file, path_of, refuse_address
from .formats.hub import batches, load_dataset
from .formats.packed import BLOCK_BYTES, plain_name, read_blocks

# where this process and those it starts find what standard input held
_STDIN_VARIABLE = "UNROLLED_STDIN"
_NO_TEXT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


@dataclass(frozen=True)
class Document:
    """One document.

    Attributes:
        name: What messages call it.
        blocks: Reads it, block by block, from the start.
    """

    name: str
    blocks: Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Source:
    """A text to train on.

    Attributes:
        name: What messages call it.
        identity: Plain data that changes whenever the text does: the key of the cache.
        documents: Lists the documents, in a fixed order.
        utf8: Whether it is UTF-8 by construction, whatever encoding the user's files have.
        told: A line for people about what is left out, or nothing.
    """

    name: str
    identity: list[Any]
    documents: Callable[[], Iterable[Document]]
    utf8: bool = False
    told: str = ""


def builtin_source() -> Source:
    """Return the source code of Python's standard library without its tests, a document a file."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = []
    for folder, inside, files in os.walk(root):
        # not walked and left out later: what is installed there may be many times as much
        inside[:] = set(inside) - _NO_TEXT
        paths += [Path(folder, name) for name in files if name.endswith(".py")]
    if not paths:
        raise DataError(
            f"Python's standard library at {root} has no source files: give a text with "
            "--data.path."
        )
    return _files("the standard library's source", sorted(paths), root, utf8=True)


def text_source(text: str) -> Source:
    """Return the source of a text that is given itself, one document.

    Args:
        text: The text.
    """
    name = f"the text '{quoted(text, 40)}'"
    data = text.encode("utf-8", "surrogatepass")

    def documents() -> Iterator[Document]:
        yield Document(name, partial(iter, [data]))

    return Source(name, ["text", text], documents, utf8=True)


def path_source(path: str, pattern: str, cache: Path) -> Source:
    """Return the source for a path.

    Args:
        path: A file, a folder, a pipe, or `-` for standard input. Compressed files (`.gz`,
            `.bz2`, `.xz`, `.zst`) are read as they are.
        pattern: Which files of a folder to take: shell patterns with commas in between, for the
            name without the ending of a compressed file, in any capitals. Sub-folders are included,
            hidden files and folders are not.
        cache: Folder for what can be read only once.

    Raises:
        DataError: If there is nothing to read.
    """
    if path == "-":
        return _spooled(_spool_stdin(cache), "standard input")
    refuse_address(path)
    full = path_of(path).absolute()
    if full.is_dir():
        return _folder(full, path, pattern)
    if full.is_file():
        return _files(path, [full])
    if full.exists():  # a pipe, as from <(command)
        _refuse_several_processes(path)
        with full.open("rb") as pipe:
            return _spooled(_spool(pipe, cache), path)
    raise DataError(missing_file(full, path))


def _folder(folder: Path, path: str, pattern: str) -> Source:
    paths = sorted(files_in(folder))
    patterns = [one.strip().lower() for one in pattern.split(",")]
    taken: list[Path] = []
    others: list[Path] = []
    for file in paths:
        name = plain_name(file).lower()
        fits = any(fnmatch.fnmatchcase(name, one) for one in patterns)
        (taken if fits else others).append(file)
    if not taken:
        found = sorted({Path(plain_name(p)).suffix or "no suffix" for p in paths})
        holds = f"its {len(paths)} files have {', '.join(found[:5])}" if paths else "it is empty"
        raise DataError(
            f"No file in '{path}' matches '{pattern}': {holds}.\n"
            "Choose with --data.pattern, for example --data.pattern '*.md,*.rst' or '*'."
        )
    source = _files(path, taken, folder)
    if not others:
        return source
    names = some((file.relative_to(folder).as_posix() for file in others), 3)
    told = f"{len(others):,} of {len(paths):,} files don't match '{pattern}' and are left out"
    return replace(source, told=f"{told} (--data.pattern): {names}")


def _files(name: str, paths: list[Path], root: Path | None = None, *, utf8: bool = False) -> Source:
    """Return the source of files; without a root it is one file, known by the source's name."""
    return Source(name, stamps(*paths), partial(_file_documents, name, paths, root), utf8)


def _file_documents(name: str, paths: list[Path], root: Path | None) -> Iterator[Document]:
    for path in paths:
        label = f"'{path.relative_to(root)}' in {name}" if root else name
        yield Document(label, partial(read_blocks, path, label))


def _spool_stdin(cache: Path) -> Path:
    """Return the file that holds what was on standard input."""
    if spooled := os.environ.get(_STDIN_VARIABLE):
        return Path(spooled)
    _refuse_several_processes("Standard input")
    file = _spool(sys.stdin.buffer, cache)
    os.environ[_STDIN_VARIABLE] = str(file)  # processes that Lightning starts find it here
    return file


def _refuse_several_processes(what: str) -> None:
    if any(int(os.environ.get(variable) or 1) > 1 for variable in ("WORLD_SIZE", "SLURM_NTASKS")):
        raise UsageError(
            f"{what} can be read by one process only, and this run was started as several: "
            "save the text in a file that all of them see, and give its path."
        )


def _spool(stream: BinaryIO, cache: Path) -> Path:
    """Copy a stream to a file in the cache that is named by its content."""
    digest = hashlib.sha256()
    try:
        with workplace(cache, "spool") as folder:
            copy = folder / "copy"
            with copy.open("wb") as file:
                while block := stream.read(BLOCK_BYTES):
                    digest.update(block)
                    file.write(block)
            return cached(cache / f"spool-{digest.hexdigest()[:32]}", copy.replace)
    except OSError as error:
        raise SetupError(unusable(cache, error.strerror or str(error))) from error


def _spooled(file: Path, name: str) -> Source:
    return Source(name, [file.name], partial(_file_documents, name, [file], None))


def dataset_source(
    name: str, *, config: str | None, split: str, column: str, streaming: bool, cache: Path
) -> Source:
    """Return the text column of a data set of the `datasets` library; one document a row.

    Args:
        name: A data set's name, a folder it was saved to, or a file (JSON, JSON lines, CSV,
            Parquet, text).
        config: The configuration's name, for data sets that have several.
        split: The split.
        column: The column with the text.
        streaming: Read it once, without keeping the data set itself on disk.
        cache: Folder for what is read only once.

    Raises:
        DataError: If there is no such data set, split or column.
    """
    label = f"data set '{name}'"
    rows = load_dataset(name, config, split, streaming=streaming, label=label)
    columns = rows.column_names
    if columns is not None and column not in columns:
        raise DataError(
            f"{label} has no column '{column}', only {', '.join(columns)}: choose with "
            f"--data.column.{did_you_mean(column, columns)}"
        )
    documents = partial(_row_documents, rows, column, label)
    if not streaming:
        return Source(label, ["dataset", rows._fingerprint, column], documents, utf8=True)
    local = path_of(name)
    files = [local] if local.is_file() else sorted(p for p in local.rglob("*") if p.is_file())

    def keep(made: Path) -> None:
        with made.open("wb") as out:
            for document in documents():
                out.writelines(document.blocks())
                out.write(b"\xff")  # ends a document: UTF-8 never has this byte

    file = cached(cache / f"stream-{key_of(name, config, split, column, stamps(*files))}", keep)
    return Source(label, [file.name], partial(_split_documents, file, label), utf8=True)


def _row_documents(rows: Any, column: str, label: str) -> Iterator[Document]:
    read = batches(rows.select_columns([column]), label, size=256)
    for number, text in enumerate(text for batch in read for text in batch[column]):
        if not isinstance(text, str):
            raise DataError(
                f"{label}, row {number} (from 0): column '{column}' holds {type(text).__name__}, "
                "not text. Filter the data set, or choose another --data.column."
            )
        data = text.encode("utf-8", "surrogatepass")
        yield Document(f"row {number} of {label}", partial(iter, [data]))


def _split_documents(file: Path, label: str) -> Iterator[Document]:
    """Yield the documents of a file with a byte 0xff after each."""
    number = 0
    pieces: list[bytes] = []
    for block in read_blocks(file, label):
        *ends, rest = block.split(b"\xff")
        for end in ends:
            yield Document(f"row {number} of {label}", partial(iter, [*pieces, end]))
            number, pieces = number + 1, []
        pieces.append(rest)
