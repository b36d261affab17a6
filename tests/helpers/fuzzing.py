"""Damaged files out of whole ones, and what a reader may answer to them."""

from __future__ import annotations

import copy
import json
import resource
import signal
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml
from unrolled.errors import UnrolledError

SECONDS = 5
MEMORY = 2 << 30  # bytes that reading one small file may take at most
LONGEST = 2_000  # characters of a message

# What breaks parsers: numbers, nests, encodings, ends of lines, tags and types of YAML and numpy.
TOKENS = [
    *(b"\0", b"\xff", b"\xff\xfe", b"\xed\xa0\x80", "\u2028".encode(), b"\x85", b"\r", b"\n\n\n"),
    *(
        b'"',
        b"'",
        b",",
        b"\t",
        b"#",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"- ",
        b"|",
        b"%",
        b"&a ",
        b"*a",
    ),
    *(b"-1", b"0", b"1e999", b"NaN", b"Infinity", b"null", b"true", b'"\\ud800"', b"2001-99-99"),
    *(b"9" * 30, b"9" * 5_000, b"[" * 3_000, b'{"a":' * 2_000, b"(" * 300, b"x" * 20_000),
    *(
        b"!!int ''",
        b"!!float x",
        b"!!bool x",
        b"!!timestamp x",
        b"!!binary x",
        b"!!python/name:os.x",
    ),
    *(
        b"!!set {a}",
        b"!!omap [a]",
        b"<<: *a",
        b"? [a]",
        b"'|O'",
        b"'<f8'",
        b"'<V99999999'",
        b"(-1,)",
    ),
]
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        3,
        10**30,
        1.5,
        float("nan"),
        float("inf"),
        "",
        " ",
        "x",
        "a\nb\nc",
    ),
    *(
        "\0",
        "\ud800",
        "\x1b[2J",
        "../../x",
        "/etc/hostname",
        "x" * 5_000,
        "9" * 5_000,
        [],
        {},
        [[]],
    ),
    *([None], {"": None}, ["x"], [1, "1"], {"class_path": "os.system"}, list(range(50))),
]


class Reader(NamedTuple):
    """Something that reads files of strangers.

    Attributes:
        file: What the file is called.
        make: Writes files that are whole into a folder, and returns their contents.
        read: Reads a file, and uses what it says as far as that is quick.
        tree: How its content is a tree of plain data: `json`, `yaml`, or `` for none.
        pack: Puts a mutated part where it belongs: what is in an archive is behind a checksum.
    """

    file: str
    make: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    tree: str = ""
    pack: Callable[[bytes], bytes] = bytes


class TooLong(BaseException):  # no Exception, so that no reader takes it for a fault
    """A reader took more than `SECONDS`."""


def mutant(seeds: list[bytes], random: Random, tree: str = "") -> bytes:
    """Return a damaged file: a few bytes of it changed, or a few nodes of its tree.

    Args:
        seeds: Files that are whole.
        random: Draws.
        tree: As in `Reader`.
    """
    data = random.choice(seeds)
    if tree and random.random() < 0.5:
        data = _other_tree(data, random, tree)
        if random.random() < 0.8:
            return data
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        data = _changed(data, seeds, random)
    return data


def _changed(data: bytes, seeds: list[bytes], random: Random) -> bytes:
    begin, end = sorted(random.choices(range(len(data) + 1), k=2))
    if random.random() < 0.7:
        end = min(end, begin + random.choice((1, 1, 2, 8, 64)))
    kind = random.randrange(8)
    if kind == 0:  # flip a bit
        changed = bytearray(data)
        if data:
            changed[min(begin, len(data) - 1)] ^= 1 << random.randrange(8)
        return bytes(changed)
    if kind == 1:  # cut the end off
        return data[:begin]
    other = random.choice(seeds)
    put = [
        b"",  # remove
        random.randbytes(end - begin),  # overwrite
        random.choice(TOKENS),  # replace
        data[begin:end] * 2,  # duplicate
        data[begin:end] + random.choice(TOKENS),  # insert
        other[random.randrange(len(other) + 1) :][: random.choice((4, 64, 4096))],  # splice
    ][kind - 2]
    return data[:begin] + put + data[end:]


def _other_tree(data: bytes, random: Random, tree: str) -> bytes:
    root = [json.loads(data) if tree == "json" else yaml.safe_load(data)]
    for _ in range(random.choice((1, 1, 2, 5))):
        places = list(_places(root))
        holder, key = random.choice(places)
        what = random.randrange(4)
        if what == 0 and holder is not root:
            holder.pop(key)
        elif what == 1:
            other, place = random.choice(places)
            holder[key] = json.loads(json.dumps(other[place]))
        elif what == 2 and isinstance(holder, dict):
            name = random.choice(["", "x", "a\nb", "9" * 5_000, key + "x"])
            holder[name] = holder.pop(key)
        else:
            holder[key] = copy.deepcopy(random.choice(ODD))
    text = json.dumps(root[0]) if tree == "json" else yaml.safe_dump(root[0], allow_unicode=True)
    return text.encode("utf-8", "surrogatepass")


def _places(nest: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(nest) if isinstance(nest, dict) else range(len(nest)):
        yield nest, key
        if isinstance(nest[key], dict | list):
            yield from _places(nest[key])


@contextmanager
def limited() -> Iterator[None]:
    """Give what is done inside `SECONDS` and `MEMORY` at most."""

    def stop(*_: object) -> None:
        raise TooLong

    # Processor time, for the machine may be busy, and ten times as much by the clock, for a reader
    # may wait.
    timers = {signal.SIGPROF: (signal.ITIMER_PROF, 1), signal.SIGALRM: (signal.ITIMER_REAL, 10)}
    before = {number: signal.signal(number, stop) for number in timers}
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    for timer, times in timers.values():
        signal.setitimer(timer, times * SECONDS)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def answer(read: Callable[[Path], object], path: Path) -> bool:
    """Read a file within the limits; return whether it was taken.

    Args:
        read: The reader.
        path: The file.

    Raises:
        AssertionError: It was refused in more than two lines.
        BaseException: What else the reader raised.
    """
    with limited():
        try:
            read(path)
        except UnrolledError as error:
            said = str(error)
            assert said.count("\n") < 2, said[:500]
            assert len(said) < LONGEST, said[:500]
            return False
    return True


def attack(name: str, reader: Reader, folder: Path, examples: int, seed: int) -> dict[str, int]:
    """Give a reader damaged files; return how many it took and refused.

    What fails is left beside, to be looked at: a folder `fuzz-failures` where the tests run.

    Args:
        name: The reader's name.
        reader: The reader.
        folder: Where to write the files.
        examples: How many.
        seed: Start of the pseudo-random numbers.
    """
    seeds = reader.make(folder)
    path = folder / reader.file
    for whole in seeds:
        path.write_bytes(reader.pack(whole))
        assert answer(reader.read, path), "a whole file is taken"
    counts = {"taken": 0, "refused": 0}
    for number in range(examples):
        random = Random(zlib.crc32(f"{name} {seed} {number}".encode()))
        data = reader.pack(mutant(seeds, random, reader.tree))
        path.unlink()  # a reader may have the last one mapped
        path.write_bytes(data)
        try:
            counts["taken" if answer(reader.read, path) else "refused"] += 1
        except BaseException as error:
            with suppress(OSError):
                kept = Path("fuzz-failures") / f"{name}-{seed}-{number}-{reader.file}"
                kept.parent.mkdir(exist_ok=True)
                kept.write_bytes(data)
                error.add_note(f"{name}, seed {seed}, example {number}: kept as {kept}")
            raise
    return counts
