"""Each image of a test with its caption, and the same as COCO's evaluation reads it.

The format is that of https://cocodataset.org/#format-results: outside programs score METEOR, SPICE
or CLIPScore by the two files. Where the data have no numbers for their images, an image's number
is its place in the part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...data.captioning.base import ImageName
from ..results import Records, Results
from .blind import Said

COLUMNS = ("image_id", "image", "caption", "references")


def captions(said: Iterable[Said], images: Sequence[ImageName]) -> Results:
    """Return a table of the captions, COCO's results file, and the references in COCO's form.

    Args:
        said: What was said, in any order; of two captions of one image one counts.
        images: What the images are called, by number.
    """
    by_number = {one.number: one for one in said}
    ordered = [by_number[number] for number in sorted(by_number)]
    names = [
        images[one.number] if one.number < len(images) else ImageName(one.number) for one in ordered
    ]
    pairs = list(zip(names, ordered, strict=True))
    references = [(name.id, text) for name, one in pairs for text in one.references]
    return {
        "captions.tsv": Records(
            COLUMNS,
            [
                {
                    "image_id": name.id,
                    "image": name.image,
                    "caption": one.caption,
                    "references": list(one.references),
                }
                for name, one in pairs
            ],
        ),
        "coco_results.json": [{"image_id": name.id, "caption": one.caption} for name, one in pairs],
        "coco_references.json": {
            "info": {},
            "licenses": [],
            "type": "captions",
            "images": [{"id": name.id, "file_name": name.image or str(name.id)} for name in names],
            "annotations": [
                {"id": number, "image_id": image, "caption": text}
                for number, (image, text) in enumerate(references, 1)
            ],
        },
    }
