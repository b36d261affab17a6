"""What the page takes, and what it says of the rest: a line, where the answer would stand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import DataError, UnrolledError
from ...loading import first_lines
from ..pages.html import Html, element

TEXT = 1000
"""Characters of a text at most."""
WRITTEN = 500
"""Characters that a language model writes at most."""
IMAGE_BYTES = 32 << 20
"""Bytes of an image at most; `data.images.MAX_PIXELS` says how many pixels."""
UPLOAD_BYTES = 256 << 20
"""Bytes of an upload at most."""
ALL_UPLOADS = 4 << 30
"""Bytes of all uploads that wait at the same time."""
BODY_BYTES = 4 << 20
"""Bytes of any other request at most."""
FRAMES = 20_000
"""Frames of a video that are labelled at most."""
SESSIONS = 64
"""Visitors whose reading or stream is kept."""


def problem(error: Exception) -> Html:
    """Return the line that says what is wrong.

    Args:
        error: What was raised.
    """
    said = str(error) if isinstance(error, UnrolledError) else first_lines(error)
    return element("p", said, class_="problem", role="alert")


def within(text: str) -> str:
    """Return a text that is not too long.

    Args:
        text: What was typed, or sent by what is no browser.

    Raises:
        DataError: It is too long.
    """
    if len(text) > TEXT:
        raise DataError(
            f"The text has {len(text):,} characters; at most {TEXT:,} are read here: shorten it."
        )
    return text


@contextmanager
def uploaded(name: str, most: int = UPLOAD_BYTES) -> Iterator[Path]:
    """Give the file of an upload, which is removed afterwards.

    Args:
        name: Where Gradio put it.
        most: Bytes at most.

    Raises:
        DataError: It is no upload, or too large.
    """
    path = Path(name).resolve()
    if not path.is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve()):
        raise DataError("This is no file that was uploaded here.")
    try:
        if (size := path.stat().st_size) > most:
            raise DataError(
                f"The file has {size / 1e6:,.0f} MB; at most {most / 1e6:,.0f} are read here."
            )
        yield path
    except FileNotFoundError:
        raise DataError("The file is gone: choose it again.") from None
    except DataError as error:  # its place on this machine is nobody's business
        raise DataError(str(error).replace(str(path), path.name)) from error
    finally:
        path.unlink(missing_ok=True)
