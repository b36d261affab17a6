"""Every reader of files that may come from anybody, with files that it takes."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import unrolled
from fuzzing import Reader
from PIL import Image
from unrolled.apps.label import _features
from unrolled.apps.run import tables
from unrolled.apps.run.request import parse
from unrolled.apps.shell.shipped import CONFIGS
from unrolled.checkpoints import WholeFile
from unrolled.data.captioning.captions import parts_of
from unrolled.data.captioning.files import read_captions
from unrolled.data.captioning.finding import ImageFinder
from unrolled.data.formats.vectors import VectorFile
from unrolled.data.images import check_image, open_image
from unrolled.data.sources import path_source
from unrolled.data.splits import shares
from unrolled.data.text.corpus import Corpus
from unrolled.data.tokenizer import Subwords
from unrolled.data.translation.pairs import file_pairs
from unrolled.data.translation.tables import table_pairs
from unrolled.data.video.clips.module import write_video
from unrolled.data.video.files import find_videos, read_list
from unrolled.data.video.frames import read_frames
from unrolled.data.video.labels import read_frame_labels
from unrolled.data.video.media import natural
from unrolled.data.video.ms_tcn import (
    feature_shape,
    read_bundle,
    read_features,
    read_labels,
    read_mapping,
)
from unrolled.data.vocabulary import vocabulary_from_spec
from unrolled.errors import DataError
from unrolled.loading import CheckedCheckpoint

KARPATHY = {
    "dataset": "flickr8k",
    "images": [
        {
            "filename": f"{number}.jpg",
            "filepath": "train",
            "split": split,
            "sentences": [{"raw": "A dog runs.", "tokens": ["a", "dog"]}, {"raw": "Two dogs."}],
        }
        for number, split in enumerate(("train", "restval", "val", "test"))
    ],
}
COCO = {
    "images": [{"id": number, "file_name": f"{number}.jpg"} for number in (7, 9, 12)],
    "annotations": [{"image_id": number, "caption": "A dog."} for number in (7, 9, 12, 7)],
}
TEXTS = ["the cat sat on the mat", "a dog ran home, o'clock", "Ein Hund läuft ▁ 12 mal"]
ARRAYS = [np.arange(60, dtype=dtype).reshape(5, 12) for dtype in ("<f4", "<f8", "<i8", ">f2")]


def const(*contents: str | bytes) -> Callable[[Path], list[bytes]]:
    return lambda _: [one.encode() if isinstance(one, str) else one for one in contents]


# Captions


def read_caption_file(path: Path) -> None:
    entries = read_captions(path, "auto").entries
    parts_of(entries, shares("0.1", "0.1"))
    finder = ImageFinder(path.parent, [], None)
    for entry in entries:
        finder.find(entry.image)
        "".join(entry.captions).encode("utf-8", "surrogatepass")


def beside_token_file(folder: Path) -> list[bytes]:
    (folder / "flickr8k.token.txt").write_text("a.jpg#0\tA dog.\nb.jpg#0\tTwo.\n")
    return [b"a.jpg\nb.jpg\n"]


# Videos


def arrays(_: Path) -> list[bytes]:
    found = []
    for array in [*ARRAYS, np.asfortranarray(ARRAYS[0])]:
        np.save(file := io.BytesIO(), array)
        found.append(file.getvalue())
    return found


def read_array_file(path: Path) -> None:
    """Read it as the three places do that read features."""
    problem = None
    for read in (
        partial(feature_shape, path, "x"),
        partial(read_features, path, 0, 5, transposed=False),
        partial(_features, path, 12),
    ):
        try:
            read()
        except DataError as error:
            problem = error
    if problem:
        raise problem


def videos(folder: Path) -> list[bytes]:
    random = np.random.default_rng(0)
    found = []
    for suffix in ("mp4", "mkv", "avi", "webm.mkv"):
        path = folder / f"whole.{suffix}"
        write_video(path, random.integers(0, 255, (6, 16, 16, 3), dtype=np.uint8))
        found.append(path.read_bytes())
        path.unlink()
    return found


def read_label_file(path: Path) -> None:
    labels = read_frame_labels(path)
    sorted(labels.names(), key=natural)
    labels.numbers({"walk": 0, "run": 1}, 6)


def read_mapping_file(path: Path) -> None:
    sorted(read_mapping(path), key=natural)


def read_video_list(path: Path) -> None:
    for name in ("v/a.mp4", "v/b.mp4"):
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).touch()
    read_list(path, find_videos(path.parent)[0])


# Text


def read_subwords(path: Path) -> None:
    """Read it and use it: what loads has to work."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    for kind in ("bpe", "unigram", "word"):
        try:
            subwords = Subwords.from_spec({"kind": kind, "tokenizer": text})
        except DataError as error:
            problem: DataError | None = error
            continue
        for ids in subwords.encode_batch([*TEXTS, "", "\0 \U0001f600 ﷺ" * 3]):
            assert all(0 <= number < subwords.size for number in ids)
            subwords.decode(ids)
        subwords.decode(range(subwords.size))
        assert len(set(subwords.symbols(range(subwords.size)))) == subwords.size
        return
    assert problem is not None
    raise problem


def subwords(_: Path) -> list[bytes]:
    kinds = (("bpe", True), ("unigram", False), ("word", False))
    trained = [Subwords.train(TEXTS * 2, kind=kind, size=60, lowercase=low) for kind, low in kinds]
    return [one.to_spec()["tokenizer"].encode() for one in trained]


def read_vocabulary(path: Path) -> None:
    try:
        spec = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # a spec is in a checkpoint, plain data already
        raise DataError("no JSON") from error
    vocabulary = vocabulary_from_spec(spec)
    vocabulary.encode("the cat", unknown="replace")
    vocabulary.decode(range(min(vocabulary.size, 50))).encode()


def read_text(path: Path) -> None:
    for units in ("characters", "bytes"):
        source = path_source(str(path), "*", path.parent)
        for documents in ("files", "lines", "paragraphs"):
            corpus = Corpus(
                source, units=units, encoding="utf-8", documents=documents, cache=path.parent
            )
            corpus._survey()


def read_sides(path: Path) -> None:
    (path.parent / "other").write_text("".join(f"{text}\n" for text in TEXTS))
    pairs = file_pairs(str(path), str(path.parent / "other"))
    for pair in pairs.read():
        "".join(pair).encode()


def read_table(path: Path) -> None:
    for pair in table_pairs(str(path), "de", "en").read():
        "".join(pair).encode("utf-8", "surrogatepass")


# Images


def images(_: Path) -> list[bytes]:
    random = np.random.default_rng(0)
    found = []
    for kind in ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"):
        image = Image.fromarray(random.integers(0, 255, (9, 12, 3), dtype=np.uint8))
        image.save(file := io.BytesIO(), kind)
        found.append(file.getvalue())
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(file := io.BytesIO(), "PNG")
    return [*found, file.getvalue()]


def read_image(path: Path) -> None:
    check_image(path)
    open_image(path, 8)


# Runs


def configurations(_: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(CONFIGS.glob("*/*.yaml"))]


def read_configuration(path: Path) -> None:
    parse("fit", [str(path)])


def read_metrics(path: Path) -> None:
    writer = tables._Writer(str(path.parent), None)
    writer.log_metrics({"val/loss": 1.0}, 7)
    writer.save()


class Checkpoints:
    """A checkpoint as an archive, and what is in it: a pickle behind a checksum."""

    def __init__(self, path: Path) -> None:
        content = torch.load(path, weights_only=True)
        torch.save(content, file := io.BytesIO())
        self.archive = file.getvalue()
        with zipfile.ZipFile(file) as archive:
            self.parts = {part: archive.read(part) for part in archive.namelist()}
        self.pickle = next(name for name in self.parts if name.endswith("/data.pkl"))

    def pack(self, pickled: bytes) -> bytes:
        with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
            for name, content in {**self.parts, self.pickle: pickled}.items():
                archive.writestr(name, content)
        return file.getvalue()

    def readers(self) -> Iterator[tuple[str, Reader]]:
        yield "checkpoint archive", Reader("x.ckpt", const(self.archive), _load)
        yield (
            "checkpoint pickle",
            Reader("x.ckpt", const(self.parts[self.pickle]), _load, pack=self.pack),
        )


def _load(path: Path) -> None:
    WholeFile(path)
    CheckedCheckpoint(path)
    unrolled.load(path)


READERS: dict[str, Reader] = {
    "captions of Karpathy": Reader(
        "dataset.json", const(json.dumps(KARPATHY)), read_caption_file, "json"
    ),
    "captions of COCO": Reader("captions.json", const(json.dumps(COCO)), read_caption_file, "json"),
    "captions as CSV": Reader(
        "captions.csv",
        const('image,caption,split\na.jpg,A dog.,train\nb.jpg,"Two, dogs.",val\n'),
        read_caption_file,
    ),
    "captions as tokens": Reader(
        "x.token.txt", const("a.jpg#0\tA dog.\na.jpg#1\tOne.\n"), read_caption_file
    ),
    "word vectors": Reader(
        "vectors.vec",
        const("3 4\nthe 0.1 -2 3e-4 5\nof 1 2 3 4 \nete\u0301 0 0 0 1\n"),
        lambda path: [*VectorFile(str(path)).rows()],
    ),
    "the parts of Flickr8k": Reader(
        "Flickr_8k.trainImages.txt",
        beside_token_file,
        lambda path: read_caption_file(path.parent / "flickr8k.token.txt"),
    ),
    "captions as JSON lines": Reader(
        "train.jsonl",
        const('{"image": "a.jpg", "caption": "A dog."}\n{"image": "b", "captions": ["A", "B"]}\n'),
        read_caption_file,
    ),
    "labels as CSV": Reader(
        "clip.csv",
        const(
            "frame,label\n" + "".join(f"{n},walk\n" for n in range(6)),
            'start,end,label\n0,2,walk\n2,6,"run"\n',
        ),
        read_label_file,
    ),
    "a mapping": Reader("mapping.txt", const("0 rest\n1 cut\n2 pour\n"), read_mapping_file),
    "a bundle": Reader(
        "train.split1.bundle",
        const("a.txt\nb.txt\nc\n"),
        lambda path: read_bundle(path.parent, "train", 1),
    ),
    "labels of MS-TCN": Reader(
        "a.txt", const("rest\ncut\ncut\n"), lambda path: read_labels(path, {"rest": 0, "cut": 1})
    ),
    "a list of videos": Reader(
        "list.txt",
        const('v/a.mp4 1\n"v/b.mp4" 2\nv/a\n'),
        read_video_list,
    ),
    "features": Reader("a.npy", arrays, read_array_file),
    "videos": Reader("a.mp4", videos, lambda path: list(read_frames(path, image_size=8))),
    "images": Reader("a.png", images, read_image),
    "subwords": Reader("x.json", subwords, read_subwords, "json"),
    "a vocabulary": Reader(
        "x.json",
        const('{"kind": "characters", "symbols": "aehtc "}', '{"kind": "bytes", "symbols": ""}'),
        read_vocabulary,
        "json",
    ),
    "text": Reader("x.txt", const("the cat\nsät on the mat\n"), read_text),
    "packed text (gzip)": Reader("x.gz", const(gzip.compress(b"the cat sat\n" * 9)), read_text),
    "packed text (xz)": Reader("x.xz", const(lzma.compress(b"the cat sat\n" * 9)), read_text),
    "parallel text": Reader("x.de", const("".join(f"{text}\n" for text in TEXTS)), read_sides),
    "pairs as TSV": Reader("x.tsv", const("de\ten\nein\tone\nzwei\ttwo\n"), read_table),
    "pairs as CSV": Reader("x.csv", const('de,en\nein,one\n"zwei, drei",two\n'), read_table),
    "pairs as JSON lines": Reader(
        "x.jsonl",
        const('{"de": "ein", "en": "one"}\n{"translation": {"de": "zwei", "en": "two"}}\n'),
        read_table,
    ),
    "a configuration": Reader("x.yaml", configurations, read_configuration, "yaml"),
    "metrics": Reader("metrics.csv", const("epoch,step,val/loss\n0,1,2.5\n0,2,\n"), read_metrics),
}
