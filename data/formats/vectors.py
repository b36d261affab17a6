"""Word vectors in text form: a word a line and its numbers, as GloVe, fastText and word2vec write.

Shapes: D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import DataError, quoted, some
from ..tables import MAX_LINE
from .folders import missing_file, path_of, refuse_address
from .packed import kind_of, member_blocks, members, read_blocks

Vector = npt.NDArray[np.float32]
_LARGEST = 1 << 16  # numbers of a vector


class VectorRow(NamedTuple):
    """A line of a file of word vectors.

    Attributes:
        word: The word.
        vector: Its numbers (D,); None where it was not asked for.
    """

    word: str
    vector: Vector | None


class VectorFile:
    """A file of word vectors, read line by line as often as asked.

    The first line may say how many words and numbers follow. Fields are parted by single spaces or
    tabs. A word that is not UTF-8 is left out and counted, as torchtext does.

    Args:
        path: The file; compressed ones and zip archives of a single file are read as they are.

    Attributes:
        size: D.
        undecodable: Words that were left out, after a whole reading.

    Raises:
        DataError: There is no such file, or it holds no vectors.
    """

    def __init__(self, path: str) -> None:
        refuse_address(path)
        self.path = path_of(path).absolute()
        self.label = f"'{path}'"
        if self.path.is_dir():
            raise DataError(f"{self.label} is a folder; a file of word vectors is meant.")
        if not self.path.exists():
            raise DataError(missing_file(self.path, path))
        self.undecodable = 0
        self.size = next(self._fields())[2]

    def rows(self, wanted: Callable[[str], bool] = lambda word: True) -> Iterator[VectorRow]:
        """Yield the words in the file's order; one that occurs twice is yielded twice.

        Args:
            wanted: Says of a word whether its numbers are needed: reading them is what takes time.

        Raises:
            DataError: A line has another number of numbers, or something else in their place.
        """
        self.undecodable = 0
        for number, fields, size in self._fields():
            if len(fields) != size + 1:
                raise DataError(
                    f"{self.label}, line {number} has a vector of {len(fields) - 1:,} numbers; "
                    f"those before it have {size:,}."
                )
            try:
                word = fields[0].decode("utf-8")
            except UnicodeDecodeError:
                self.undecodable += 1
                continue
            yield VectorRow(word, self._numbers(fields[1:], number) if wanted(word) else None)

    def _numbers(self, fields: list[bytes], number: int) -> Vector:
        try:
            with np.errstate(over="ignore"):  # it is told below
                vector = np.array(fields).astype(np.float32)
        except ValueError as error:
            raise DataError(f"{self.label}, line {number}: {quoted(str(error))}.") from error
        if not np.isfinite(vector).all():
            raise DataError(f"{self.label}, line {number} has a number that is not finite.")
        return vector

    def _fields(self) -> Iterator[tuple[int, list[bytes], int]]:
        """Yield each line's number, its fields, and D; not the header's, nor empty lines'."""
        size = 0
        for number, line in enumerate(_lines(self._blocks(), self.label), 1):
            fields = line.rstrip(b" \t\r").replace(b"\t", b" ").split(b" ")
            if number == 1:
                if b"\0" in line:
                    raise DataError(_binary(self.label))
                fields[0] = fields[0].removeprefix(b"\xef\xbb\xbf")
                if len(fields) == 2 and all(field.isdigit() for field in fields):
                    continue
            if fields == [b""]:
                continue
            if not size:
                size = len(fields) - 1
                if not 1 <= size <= _LARGEST:
                    raise DataError(
                        f"{self.label}, line {number} is no word with a vector: one is expected "
                        "a line, as `the 0.418 0.24968 -0.41242`."
                    )
                self._numbers(fields[1:], number)
            yield number, fields, size
        if not size:
            raise DataError(f"{self.label} holds no vectors.")

    def _blocks(self) -> Iterator[bytes]:
        if kind_of(self.path) == ".bin":
            raise DataError(_binary(self.label))
        if kind_of(self.path) != ".zip":
            return read_blocks(self.path, self.label)
        inside = members(self.path, self.label)
        if len(inside) != 1:
            raise DataError(
                f"{self.label} holds {len(inside):,} files ({some(inside, 5)}): unpack it, and "
                "name the one that is meant."
            )
        return member_blocks(self.path, inside[0], self.label)


def _binary(label: str) -> str:
    return (
        f"{label} is binary: word vectors are read in their text form (fastText's .vec, word2vec's "
        "text format)."
    )


def _lines(blocks: Iterator[bytes], label: str) -> Iterator[bytes]:
    """Yield lines as bytes: a word need not be UTF-8."""
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        if len(rest) > MAX_LINE:
            raise DataError(f"{label} has a line of more than {MAX_LINE:,} bytes: no word vectors.")
    if rest:
        yield rest
