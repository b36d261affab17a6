"""Text files that expand, or that have one line without end, are refused with their sizes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import resource
import zlib
from functools import partial

import pyarrow
import pytest
from unrolled.data.formats.packed import COMPRESSED, read_blocks
from unrolled.data.tables import MAX_FILE, MAX_LINE, csv_rows, lines, read_lines
from unrolled.data.translation.pairs import file_pairs
from unrolled.data.translation.tables import table_pairs
from unrolled.errors import DataError

WRITERS = {
    ".gz": partial(gzip.open, compresslevel=1),
    ".bz2": partial(bz2.open, compresslevel=1),
    ".xz": partial(lzma.open, preset=0),
    ".zst": lambda path, _: pyarrow.CompressedOutputStream(pyarrow.OSFile(str(path), "wb"), "zstd"),
}
REFUSED = r"has [\d,]+ bytes and expands to more than 67,108,864, as no text does"


def bomb(path, megabytes=66, unit=b"\n"):
    with WRITERS[path.suffix](path, "wb") as file:
        for _ in range(megabytes):
            file.write(unit * (1 << 20))
    return path


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_what_expands_like_no_text_is_refused_before_its_end(tmp_path, suffix):
    path = bomb(tmp_path / f"a.txt{suffix}")
    read: list[int] = []
    with pytest.raises(DataError, match=REFUSED):
        read.extend(map(len, read_blocks(path, "a")))
    assert sum(read) <= 1 << 26


def test_every_reader_of_compressed_text_refuses_it(tmp_path):
    path = str(bomb(tmp_path / "a.csv.gz", unit=b"a"))
    for pairs in (
        lambda: file_pairs(path, path),
        lambda: table_pairs(path, "source", "target"),
    ):
        with pytest.raises(DataError, match="67,108,864"):
            list(pairs().read())


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_what_expands_little_or_is_small_is_read(tmp_path, suffix):
    path = bomb(tmp_path / f"a.txt{suffix}", megabytes=20)
    assert sum(map(len, read_blocks(path, "a"))) == 20 << 20


def test_a_dictionary_larger_than_memory_is_refused(tmp_path):
    path = tmp_path / "a.xz"
    path.write_bytes(lzma.compress(b"text", preset=0))
    assert b"".join(read_blocks(path, "a")) == b"text"
    content = bytearray(path.read_bytes())
    block = 12  # where the first block's header begins: its size, flags, filter, properties
    end = block + (content[block] + 1) * 4 - 4
    content[block + 4] = 36  # a dictionary of 2^30 bytes
    content[end : end + 4] = zlib.crc32(content[block:end]).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged or no .xz file: Memory usage limit"):
        list(read_blocks(path, "a"))


def test_a_line_without_end_is_refused_with_its_number():
    endless = (b"a" * (1 << 20) for _ in range(10**9))
    with pytest.raises(DataError, match=rf"x, line 2 has more than {MAX_LINE:,} bytes"):
        list(lines((block for part in ([b"one\n"], endless) for block in part), "x"))


def test_a_field_without_end_is_refused_with_its_line():
    rows = (
        line for part in (["a,b", '"'], ("a" * (1 << 20) for _ in range(10**9))) for line in part
    )
    with pytest.raises(DataError, match=r"x, line \d+: expected a row of CSV"):
        list(csv_rows(rows, "x"))


def test_a_file_too_large_to_be_read_as_a_whole_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(MAX_FILE + 1)  # a hole, no bytes on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"has 2,147,483,649 bytes; more than 2,147,483,648"):
        read_lines(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
