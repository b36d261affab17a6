"""LMDB databases are read as LMDB's own library reads them, and damaged ones end in a line."""

from __future__ import annotations

import contextlib
import pickle
import random

import pytest
from unrolled.data.formats.lmdb import Database
from unrolled.errors import DataError

lmdb = pytest.importorskip("lmdb")
RNG = random.Random(0)
VALUES = {  # of no bytes, within a page, of a page, of several
    f"{n:05d}{'é' * (n % 3)}".encode(): RNG.randbytes((0, 40, 2030, 4096, 20_000)[n % 5])
    for n in range(300)
}


def write(path, values=VALUES, within: bytes | None = None, **settings) -> None:
    with lmdb.open(str(path), map_size=1 << 28, max_dbs=2, **settings) as made:
        inner = made.open_db(within) if within else None
        with made.begin(write=True, db=inner) as change:
            for key, value in values.items():
                change.put(key, value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("lmdb") / "a.lmdb"
    write(path, subdir=False)
    return path


def test_all_values_are_what_was_written(whole):
    made = pickle.loads(pickle.dumps(Database(whole)))
    assert made.keys == [key.decode() for key in sorted(VALUES)]
    for key, value in VALUES.items():
        assert made.read(key.decode()) == value
        assert made.read(key.decode(), 7) == value[:7]


def test_the_last_change_counts(tmp_path):
    write(tmp_path / "a")
    with lmdb.open(str(tmp_path / "a")) as made, made.begin(write=True) as change:
        for key in sorted(VALUES)[:250]:
            change.delete(key)
        change.put(b"00299", b"new")
    found = Database(tmp_path / "a")
    assert len(found.keys) == 51  # 00299 had accents
    assert found.read("00299") == b"new"


def test_named_databases_and_empty_ones(tmp_path):
    write(tmp_path / "a", {b"k": b"v"}, within=b"inner")
    assert Database(tmp_path / "a").read("inner/k") == b"v"
    write(tmp_path / "b", {})
    assert Database(tmp_path / "b").keys == []


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_ends_in_a_line(whole, tmp_path, seed):
    """Its own library ends the process, where a page is not there."""
    damage = random.Random(seed)
    content = bytearray(whole.read_bytes())
    if seed % 2:
        content = content[: damage.randrange(len(content))]
    else:
        for _ in range(20):  # of the pages' headers
            page = damage.randrange(len(content) // 4096) * 4096
            content[page + damage.randrange(40)] = damage.randrange(256)
    (bad := tmp_path / "bad.mdb").write_bytes(content)

    def read() -> None:
        found = Database(bad)
        for key in found.keys:
            found.read(key)

    if seed % 2:  # a shorter file is always found out
        with pytest.raises(DataError, match=r"is no whole LMDB database: .* Was its copy cut"):
            read()
    else:
        with contextlib.suppress(DataError):
            read()


def test_other_files_are_told(tmp_path):
    for name, content in (("a.lmdb", b""), ("b.mdb", b"Standard Jet DB" * 1000)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="is no whole LMDB database"):
            Database(tmp_path / name)
