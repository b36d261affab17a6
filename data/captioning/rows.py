"""Images and captions in the columns of a data set of the `datasets` library."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...errors import DataError, did_you_mean
from ..formats.hub import batches, check_table, load_dataset, reason_of
from ..images import open_image
from ..splits import Part
from .entries import PART_NAMES


class DatasetImages:
    """The image column of a split.

    Args:
        rows: The split, with images not decoded.
        column: The column's name.
        numbers: The rows to take.
        name: What messages call the split.
    """

    def __init__(self, rows: Any, column: str, numbers: list[int], *, name: str) -> None:
        self._rows = rows.select_columns([column])  # the library decodes what else a row has
        self._column = column
        self._numbers = numbers
        self._name = name

    @property
    def identity(self) -> list[Any]:
        """The fingerprint that the library gives a data set."""
        return ["dataset", self._rows._fingerprint, self._column, self._numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    def open(self, number: int, size: int) -> Tensor:
        """Return an image as a square picture.

        Args:
            number: Its number.
            size: S.
        """
        row = self._numbers[number]
        image = self._rows[row][self._column] or {}
        try:
            return open_image(image.get("bytes") or image.get("path") or b"", size)
        except DataError as error:
            raise DataError(f"Row {row} of {self._name}: {error}") from error


class CaptionRows:
    """A data set of the `datasets` library with images and captions.

    Args:
        name: The data set's name, a folder it was saved to, or a folder of Parquet files.
        config: The configuration's name, for data sets that have several.
        image_column: Name of the column with the images.
        caption_columns: Names of the columns with captions, commas in between: a text or a list of
            texts each.

    Raises:
        DataError: If there is no such data set or column.
    """

    def __init__(
        self, name: str, *, config: str | None, image_column: str, caption_columns: str
    ) -> None:
        import datasets  # takes a second to import

        self.name = f"data set '{name}'"
        self.image_column = image_column
        self._caption_columns = [one.strip() for one in caption_columns.split(",")]
        loaded = load_dataset(name, config, None, label=self.name)
        splits = dict(loaded) if isinstance(loaded, dict) else {"rows": loaded}
        by_part: dict[Part | None, list[Any]] = {}
        for split, rows in splits.items():
            self._check_columns(rows)
            part = PART_NAMES.get(split.lower())
            if len(splits) == 1:
                by_part[None] = [rows]
            elif part is not None:
                by_part.setdefault(part, []).append(rows)
        if not by_part:
            raise DataError(
                f"{self.name} has no split called train, val or test, only {', '.join(splits)}."
            )
        self.parts: dict[Part | None, Any] = {}
        """The rows of each part; of None where there is one split only."""
        for part, rows in by_part.items():
            whole = datasets.concatenate_datasets(rows) if len(rows) > 1 else rows[0]
            try:
                check_table(whole.select_columns([image_column]))
                whole = whole.cast_column(image_column, datasets.Image(decode=False))
            except Exception as error:  # as in loading
                raise DataError(
                    f"{self.name}: the column '{image_column}' holds no images: "
                    f"{reason_of(error)}. Choose another --data.image_column."
                ) from error
            self.parts[part] = whole

    def _check_columns(self, rows: Any) -> None:
        for flag, column in [
            ("image", self.image_column),
            *(("caption", one) for one in self._caption_columns),
        ]:
            if column not in rows.column_names:
                raise DataError(
                    f"{self.name} has no column '{column}', only {', '.join(rows.column_names)}: "
                    f"choose with --data.{flag}_column.{did_you_mean(column, rows.column_names)}"
                )

    def captions(self, rows: Any) -> list[tuple[str, ...]]:
        """Return the captions of each row; empty ones are left out.

        Args:
            rows: Rows of this data set.

        Raises:
            DataError: If there is something else than text.
        """
        found: list[list[str]] = [[] for _ in range(len(rows))]
        for column in self._caption_columns:
            read = batches(rows.select_columns([column]), self.name)
            for number, value in enumerate(value for batch in read for value in batch[column]):
                texts = value if isinstance(value, list) else [value]
                if not all(isinstance(text, str) for text in texts if text is not None):
                    raise DataError(
                        f"{self.name}, row {number} (from 0): column '{column}' holds neither text "
                        "nor a list of texts. Choose another --data.caption_column."
                    )
                found[number] += [text.strip() for text in texts if text and text.strip()]
        return [tuple(texts) for texts in found]
