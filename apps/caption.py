"""Say what images show."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoints import find_checkpoint
from ..errors import DataError, UsageError, one_line, printable
from .shell.models import open_model
from .shell.outputs import left_out, outputs

if TYPE_CHECKING:
    from torch import Tensor

    from ..tasks.captioning.model import Captioned

_SHOWN = 256  # pixels of a panel's side


def caption(
    checkpoint: str,
    *images: str,
    beam_size: int | None = None,
    nbest: int = 1,
    scores: bool = False,
    attention: str | None = None,
    length_penalty: float | None = None,
    max_length: int | None = None,
    no_repeat_ngram: int = 0,
    temperature: float | None = None,
    seed: int | None = None,
    batch_size: int = 32,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Caption images: a line for each, its path, a tab and the caption.

    Args:
        checkpoint: A checkpoint, or the folder of a run.
        *images: Image files, and folders of them (sub-folders included); - is standard input.
        beam_size: Hypotheses to keep; 1 is greedy search, null the model's own setting.
        nbest: How many captions of each image to write, each on a line of its own, the best first.
        scores: true: write the score and a tab before each caption.
        attention: A folder for pictures of where each word looked, made if it is not there.
        length_penalty: Exponent of the length that divides a log-probability; null the model's own
            setting.
        max_length: Words of a caption at most; null the model's own setting.
        no_repeat_ngram: No sequence of so many words comes twice in a caption; 0 for no such rule.
        temperature: Draw captions instead of searching the best; below 1 safer, above 1 wilder.
        seed: Makes drawing repeatable.
        batch_size: Images captioned side by side; the result does not depend on it.
        device: Where to run, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    path = find_checkpoint(checkpoint)
    if batch_size < 1:
        raise UsageError(f"--batch_size {batch_size}: must be at least 1.")
    found = list(_found(images))
    targets = _targets(found, attention) if attention is not None else {}

    from ..tasks.captioning.model import CaptioningModel

    model = open_model(path, CaptioningModel, "caption images", device=device, trust=trust)
    unreadable, piped = 0, dict[Path, bytes]()
    for first in range(0, len(found), batch_size):
        read = _read(found[first : first + batch_size], model.image_size, piped)
        unreadable += min(batch_size, len(found) - first) - len(read)
        captions = model.captions(
            [picture for _, picture in read],
            beam_size=beam_size,
            num_hypotheses=nbest,
            length_penalty=length_penalty,
            max_length=max_length,
            no_repeat_ngram=no_repeat_ngram,
            temperature=temperature,
            # Another seed for each batch: the same draws would come again.
            seed=None if seed is None else seed + first,
            attention=attention is not None,
            batch_size=batch_size,
        )
        for (image, _), best in zip(read, captions, strict=True):
            for one in best:
                name, text = one_line(image), one_line(one.text)
                print(f"{name}\t{one.score:.4f}\t{text}" if scores else f"{name}\t{text}")
            if attention is not None:
                _draw(piped.get(image, image), best[0], targets[image])
        sys.stdout.flush()
    if unreadable:
        raise DataError(
            f"{unreadable} of {len(found)} images could not be read; the others are captioned."
        )


def _found(images: Sequence[str]) -> Iterator[Path]:
    """Yield the images that are named, and those in the folders that are; `-` is none yet."""
    from ..data.formats.folders import files_in, refuse_address
    from ..data.images import SUFFIXES, is_image

    for name in images:
        refuse_address(name)
        path = Path(name)
        if not path.is_dir():
            yield path
            continue
        inside: list[Path] = []
        others: list[Path] = []
        for file in files_in(path):
            taken = file.suffix.lower() in SUFFIXES or is_image(file)
            (inside if taken else others).append(file)
        if not inside:
            raise DataError(f"'{name}' is a folder without images ({', '.join(SUFFIXES)}).")
        if others:
            print(left_out(others, path, "no images"), file=sys.stderr)
        yield from sorted(inside)


def _targets(images: Sequence[Path], name: str) -> dict[Path, Path]:
    """Make a folder, and say which of its files each image's pictures go to."""
    places = outputs(images, name, "--attention")
    targets = {image: place.with_name(f"{place.name}.png") for image, place in places.items()}
    given = {image.resolve() for image in images}
    for target in targets.values():
        if target.resolve() in given:
            raise UsageError(
                f"--attention '{name}' would overwrite '{target}', an image to caption: name "
                "another folder."
            )
    return targets


def _read(images: Sequence[Path], size: int, piped: dict[Path, bytes]) -> list[tuple[Path, Tensor]]:
    """Read images, and say which can't be; what comes through a pipe is kept in `piped`."""
    from ..data.formats.folders import is_pipe
    from ..data.images import MAX_BYTES, open_image

    read = []
    for image in images:
        try:
            if str(image) == "-":
                piped[image] = sys.stdin.buffer.read(MAX_BYTES)
            elif is_pipe(image):
                with image.open("rb") as pipe:
                    piped[image] = pipe.read(MAX_BYTES)
            read.append((image, open_image(piped.get(image, image), size)))
        except DataError as error:
            print(f"unrolled: {printable(str(error))}", file=sys.stderr)
    return read


def _draw(image: Path | bytes, best: Captioned, target: Path) -> None:
    from ..data.images import open_image
    from .pictures.overlay import attention_panels

    assert best.attention is not None
    attention_panels(open_image(image, _SHOWN), best.words, best.attention).save(target)
