"""Files that are read in blocks: who closes them."""

import bz2
import gc
import gzip
import io
import lzma
import os
import zipfile
from functools import partial

import pyarrow
import pytest
from unrolled.data.formats.packed import COMPRESSED, member_blocks, read_blocks
from unrolled.errors import DataError

TEXT = bytes(range(256)) * (1 << 13)  # of more than a block
PACK = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": partial(pyarrow.compress, codec="zstd", asbytes=True),
}


def readers(folder):
    """Yield the name of each kind of file, and what reads it in blocks."""
    for suffix in ("", *COMPRESSED):
        path = folder / f"text{suffix}"
        path.write_bytes(PACK.get(suffix, bytes)(TEXT))
        yield path.name, partial(read_blocks, path, path.name)
    with zipfile.ZipFile(folder / "text.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text", TEXT)
    yield "text.zip", partial(member_blocks, folder / "text.zip", "text", "text.zip")


def opened(folder):
    """Return how many files of a folder this process has open."""
    held = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            held += os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(folder))
        except OSError:  # the listing's own
            continue
    return held


def closing_themselves():
    return {id(one) for one in gc.get_objects() if type(one) is io.FileIO and one.closefd}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="this system lists no open files")
def test_a_reader_that_is_left_closes_its_file_and_nothing_else_does(tmp_path):
    before, begun = closing_themselves(), {}
    for name, read in readers(tmp_path):
        blocks = read()
        begun[name] = blocks, next(blocks)
    assert opened(tmp_path) == len(begun)
    # one that closes itself warns where it is collected before its reader
    assert closing_themselves() <= before
    for name, (blocks, begin) in begun.items():
        assert begin + b"".join(blocks) == TEXT, name
    assert opened(tmp_path) == 0
    left = []
    for _, read in readers(tmp_path):
        left.append(read())
        next(left[-1])
    left.clear()
    assert opened(tmp_path) == 0


def test_a_folder_and_a_missing_file_are_refused_as_before(tmp_path):
    with pytest.raises(DataError, match="can't be read: Is a directory"):
        next(read_blocks(tmp_path, "it"))
    with pytest.raises(DataError, match="can't be read: No such file"):
        next(read_blocks(tmp_path / "none", "it"))
