"""Say what images show."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DataError, UsageError
from .shell.models import model_files, open_models
from .shell.outputs import left_out, outputs
from .shell.records import Format, Output

if TYPE_CHECKING:
    from torch import Tensor

    from ..tasks.captioning.model import Captioned, CaptioningModel

_FOUND = ("caption", "score", "log_probability")
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
    min_length: int = 0,
    prefix: str = "",
    no_repeat_ngram: int = 0,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    seed: int | None = None,
    batch_size: int = 32,
    format: Format | None = None,
    out: str | None = None,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Caption images: a line for each, its path, a tab and the caption.

    Args:
        checkpoint: A checkpoint, or the folder of a run; several, with commas in between, speak as
            one: with the mean of their probabilities.
        *images: Image files, and folders of them (sub-folders included); - is standard input.
        beam_size: Hypotheses to keep; 1 is greedy search, null the model's own setting.
        nbest: How many captions of each image to write, each on a line of its own, the best first.
        scores: true: write the score and a tab before each caption.
        attention: A folder for pictures of where each word looked, made if it is not there.
        length_penalty: Exponent of the length that divides a log-probability; null the model's own
            setting.
        max_length: Words of a caption at most; null the model's own setting.
        min_length: Words of a caption at least.
        prefix: What each caption begins with.
        no_repeat_ngram: No sequence of so many words comes twice in a caption; 0 for no such rule.
        temperature: Draw captions instead of searching the best; below 1 safer, above 1 wilder;
            null for 1 where one of the next three is given. --nbest draws so many.
        top_k: Draw from the so many likeliest only.
        top_p: Draw from the fewest likeliest that have this probability together.
        min_p: Draw from those that are at least this share as likely as the likeliest.
        seed: Makes drawing repeatable.
        batch_size: Images captioned side by side; the result does not depend on it.
        format: Write records instead of lines: each image's path, its caption, or what went wrong;
            null: as the name of --out ends, .tsv, .csv, .json or .jsonl, else lines.
        out: The file to write; null is standard output.
        device: Where to run, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    paths = model_files(checkpoint)
    if batch_size < 1:
        raise UsageError(f"--batch_size {batch_size}: must be at least 1.")
    found = list(_found(images))
    there = [image for image in found if isinstance(image, Path)]
    targets = _targets(there, attention) if attention is not None else {}
    columns = ("image", *(("rank",) if nbest > 1 else ()), *_FOUND)
    output = Output(columns, format, out, [*there, *paths])

    from ..tasks.captioning.model import CaptioningModel

    model = open_models(paths, CaptioningModel, "caption images", device=device, trust=trust)
    piped: dict[Path, bytes] = {}
    with output:
        for first in range(0, len(found), batch_size):
            batch = found[first : first + batch_size]
            read = [_read(image, model.image_size, piped) for image in batch]
            captions = iter(
                model.captions(
                    [picture for picture in read if not isinstance(picture, DataError)],
                    beam_size=beam_size,
                    num_hypotheses=nbest,
                    length_penalty=length_penalty,
                    max_length=max_length,
                    min_length=min_length,
                    prefix=prefix,
                    no_repeat_ngram=no_repeat_ngram,
                    temperature=temperature,
                    top_k=top_k,
                    top_p=top_p,
                    min_p=min_p,
                    # Another seed for each batch: the same draws would come again.
                    seed=None if seed is None else seed + first,
                    attention=attention is not None,
                    batch_size=batch_size,
                )
            )
            for image, picture in zip(batch, read, strict=True):
                if isinstance(picture, DataError):
                    name = image.name if isinstance(image, _Empty) else image
                    output.failed({"image": name}, picture)
                    continue
                best = next(captions)
                for rank, one in enumerate(best, 1):
                    said = dict(
                        zip(_FOUND, (one.text, one.score, one.log_probability), strict=True)
                    )
                    ranked = {"rank": rank} if nbest > 1 else {}
                    score = (f"{one.score:.4f}",) if scores else ()
                    output.put({"image": image, **ranked, **said}, (image, *score, one.text))
                if isinstance(image, Path) and image in targets:
                    _draw(model, piped.get(image, image), best[0], targets[image])
            output.flush()
        output.finish(len(found), "image(s)", "captioned")


class _Empty(NamedTuple):
    """A folder without images."""

    name: str
    error: DataError


def _found(images: Sequence[str]) -> Iterator[Path | _Empty]:
    """Yield the images that are named, and those in the folders that are."""
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
        yield from sorted(inside)
        if not inside:
            what = f"'{name}' is a folder without images ({', '.join(SUFFIXES)})."
            yield _Empty(name, DataError(what))
        elif others:
            print(left_out(others, path, "no images"), file=sys.stderr)


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


def _read(image: Path | _Empty, size: int, piped: dict[Path, bytes]) -> Tensor | DataError:
    """Return an image, or why it can't be read; what comes through a pipe is kept in `piped`."""
    from ..data.formats.folders import is_pipe
    from ..data.images import MAX_BYTES, open_image

    if isinstance(image, _Empty):
        return image.error
    try:
        if str(image) == "-":
            piped[image] = sys.stdin.buffer.read(MAX_BYTES)
        elif is_pipe(image):
            with image.open("rb") as pipe:
                piped[image] = pipe.read(MAX_BYTES)
        return open_image(piped.get(image, image), size)
    except DataError as error:
        return error


def _draw(model: CaptioningModel, image: Path | bytes, best: Captioned, target: Path) -> None:
    from ..data.images import open_image
    from .pictures.canvas import save
    from .plots.attention import draw, shift_of

    save(draw(open_image(image, _SHOWN), best, shift=shift_of(model)), target)
