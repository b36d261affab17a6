"""Say what images show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import DataError, UsageError, at_least, quoted
from .shell.models import model_files, open_models
from .shell.outputs import outputs
from .shell.products import products
from .shell.records import Output

if TYPE_CHECKING:
    from torch import Tensor

    from ..tasks.captioning.model import Captioned, CaptioningModel
    from .shell.pictured import Item

_FOUND = ("caption", "score", "log_probability")
_SHOWN = 256  # pixels of a panel's side


def caption(
    checkpoint: str,
    *files: str,
    images: str | None = None,
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
    int8: bool = False,
    batch_size: int = 64,
    format: Literal["tsv", "json", "jsonl", "csv", "coco"] | None = None,
    out: str | None = None,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Caption images: a line for each, its path, a tab and the caption.

    Args:
        checkpoint: A checkpoint, or the folder of a run; several, with commas in between, speak as
            one: with the mean of their probabilities.
        *files: Image files, and folders of them (sub-folders included); - is standard input. For a
            model of features .npy files, folders of them, and .npz or .h5 files of many images. A
            list of images in a .json file, as COCO's image_info_test2014.json.
        images: Where the images of such a list are: a folder, of features also a file; null:
            beside it.
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
        int8: true: take matrix products in 8 bits: faster on processors with AVX-512 and VNNI,
            and now and then another caption. Scores are rounded with them.
        batch_size: Images captioned side by side; the result does not depend on it.
        format: Write records instead of lines: each image's path, its caption, or what went wrong;
            null: as the name of --out ends, .tsv, .csv, .json or .jsonl, else lines. coco: the
            results file of COCO's evaluation, with a list's numbers or names of its images.
        out: The file to write; null is standard output.
        device: Where to run, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    paths = model_files(checkpoint)
    if batch_size < 1:
        raise UsageError(f"--batch_size {batch_size}: must be at least 1.")
    at_least(1, nbest=nbest)
    coco = format == "coco"
    if coco and nbest > 1:
        raise UsageError("--format coco has one caption of an image: leave --nbest out.")

    from ..tasks.captioning.model import CaptioningModel
    from .shell.pictured import items

    multiplied = products(int8, paths, device)
    model = open_models(paths, CaptioningModel, "caption images", device=device, trust=trust)
    if attention is not None and model.feature_size:
        raise UsageError("--attention draws on pictures, and this model takes features.")
    piped: dict[Path, bytes] = {}
    found = items(model, files, images, piped)
    if coco and any(item.id is None for item in found):
        raise UsageError("--format coco needs the images' numbers: give a list that has them.")
    if coco and (named := [item.id for item in found if isinstance(item.id, str)]):
        print(
            f"unrolled: {len(named):,} of {len(found):,} images have names as ids, as "
            f"'{quoted(named[0])}', which stay: pycocotools and coco-caption look for them in the "
            "annotations; COCO's server takes numbers only.",
            file=sys.stderr,
        )
    there = [item.path for item in found if item.path is not None]
    targets = _targets(there, attention) if attention is not None else {}
    columns = ("image", *(("rank",) if nbest > 1 else ()), *_FOUND)
    output = Output(
        ("image_id", "caption") if coco else columns,
        "json" if format == "coco" else format,
        out,
        [*there, *map(Path, files), *paths],
        errors=not coco,
    )
    with multiplied, output:
        for first in range(0, len(found), batch_size):
            batch = found[first : first + batch_size]
            read = [_read(item) for item in batch]
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
            for item, picture in zip(batch, read, strict=True):
                if isinstance(picture, DataError):
                    output.failed({"image": item.name}, picture)
                    continue
                best = next(captions)
                for rank, one in enumerate(best, 1):
                    said = dict(
                        zip(_FOUND, (one.text, one.score, one.log_probability), strict=True)
                    )
                    ranked = {"rank": rank} if nbest > 1 else {}
                    score = (f"{one.score:.4f}",) if scores else ()
                    record = {"image": item.name, **ranked, **said}
                    if coco:
                        record = {"image_id": item.id, "caption": one.text}
                    output.put(record, (item.name, *score, one.text))
                if item.path is not None and item.path in targets:
                    _draw(model, piped.get(item.path, item.path), best[0], targets[item.path])
            output.flush()
        output.finish(len(found), "image(s)", "captioned")


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


def _read(item: Item) -> Tensor | DataError:
    """Return what the model takes, or why it can't be read."""
    try:
        return item.open()
    except DataError as error:
        return error


def _draw(model: CaptioningModel, image: Path | bytes, best: Captioned, target: Path) -> None:
    from ..data.images import open_image
    from .pictures.canvas import save
    from .plots.attention import draw, shift_of

    save(draw(open_image(image, _SHOWN), best, shift=shift_of(model)), target)
