"""Readers of what commands take beside data to train on, with files that they take."""

from __future__ import annotations

import contextlib
import io
import json
from functools import partial
from pathlib import Path

import h5py
import lmdb
import numpy as np
from fuzzing import Reader
from readers import COCO, const
from unrolled.apps.evaluate import evaluate
from unrolled.apps.pages.tested import tested_of
from unrolled.apps.score import _table
from unrolled.data.captioning.features import open_source
from unrolled.tasks.video.losses import read_weights

RECOGNITION = "".join(f"{name}\n" for name in ("### Frame level recognition: ###", "walk rest"))
SCORES = {"scores": {"test/loss": 1.5, "test/bleu": 20}, "signatures": {"bleu": "13a"}, "step": 3}
TABLES = {
    "samples.tsv": "id\tsource\treference\thypothesis\n1\tein Hund\ta dog\ta \\tdog\n",
    "classes.csv": 'class,f1\n"walk, run",50\n',
}


def read_scored(path: Path, *, other: str, kind: str, predicted: bool) -> None:
    """Score a file against another, as what was predicted or as what is right."""
    second = path.with_name(f"other{path.suffix}")
    second.write_text(other, encoding="utf-8")
    pair = (path, second) if predicted else (second, path)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        evaluate(*map(str, pair), kind=kind)


def read_scores(path: Path) -> None:
    folder = path.parent / "results/best"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_bytes(path.read_bytes())
    tested_of(path.parent, None)


def read_tested(path: Path) -> None:
    folder = path.parent / "results/best"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(SCORES))
    (folder / path.name).write_bytes(path.read_bytes())
    for row in tested_of(path.parent, None).table(path.name):
        list(row.items())


def read_ranked(path: Path) -> None:
    _table([str(path)], None, None)


def archives(folder: Path) -> list[bytes]:
    features = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.savez(packed := io.BytesIO(), a=features, b=features)
    return [packed.getvalue()]


def stores(folder: Path) -> list[bytes]:
    with h5py.File(file := io.BytesIO(), "w") as store:
        store["a"] = np.arange(24, dtype=np.float32).reshape(4, 6)
        store["b"] = store["a"][:]
    return [file.getvalue()]


def databases(folder: Path) -> list[bytes]:
    features = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.save(packed := io.BytesIO(), features)
    path = folder / "made.lmdb"
    settings = {"subdir": False, "lock": False, "map_size": 1 << 20}
    with lmdb.open(str(path), **settings) as made, made.begin(write=True) as change:
        for key in (b"a", b"b"):
            change.put(key, packed.getvalue())
    content = path.read_bytes()
    path.unlink()
    return [content]


def read_arrays(path: Path) -> None:
    for arrays, name in open_source(path).arrays.values():
        arrays.shape(name)
        arrays.read(name)


TRANSLATIONS = json.dumps([{"id": n, "translation": t} for n, t in enumerate(("a dog", "two"))])
CAPTIONS = json.dumps([{"image_id": n, "caption": "A dog."} for n in (7, 9, 12)])
CASES = {  # a file's name, what was predicted, what is right, and what it is
    "translations": ("x.txt", *2 * ("a dog\ntwo cats\n",), "translation"),
    "translations as JSON": ("x.json", *2 * (TRANSLATIONS,), "translation"),
    "translations as TSV": ("x.tsv", *2 * ("id\ttranslation\n1\ta dog\n2\ttwo\n",), "translation"),
    "captions": ("x.json", CAPTIONS, json.dumps(COCO), "captioning"),
    "labels as CSV": ("x.csv", *2 * ("start,end,label\n0,5,walk\n5,9,rest\n",), "video"),
    "labels of frames": ("x.csv", *2 * ("frame,label\n0,walk\n1,walk\n2,rest\n",), "video"),
    "labels as lines": ("x.txt", *2 * (RECOGNITION,), "video"),
}

OF_APPS: dict[str, Reader] = {
    **{
        f"{('predicted', 'true')[side]} {name}": Reader(
            file,
            const(texts[side]),
            partial(read_scored, other=texts[1 - side], kind=kind, predicted=side == 0),
            "json" * file.endswith("json"),
        )
        for name, (file, *texts, kind) in CASES.items()
        for side in (0, 1)
    },
    "hypotheses": Reader(
        "x.jsonl",
        const('{"id": 1, "translation": "a dog", "score": -1}\n{"translation": "two"}\n'),
        read_ranked,
    ),
    "weights of classes": Reader(
        "x.csv",
        const("class,weight\nwalk,1.5\nrest,2\n"),
        partial(read_weights, classes=["walk", "rest"]),
    ),
    "scores of a test": Reader("x.json", const(json.dumps(SCORES)), read_scores, "json"),
    **{
        f"a table of a test, {name}": Reader(name, const(text), read_tested)
        for name, text in TABLES.items()
    },
    "features of images in an archive": Reader("x.npz", archives, read_arrays),
    "features of images in a store": Reader("x.h5", stores, read_arrays),
    "features of images in a database": Reader("x.lmdb", databases, read_arrays),
}
