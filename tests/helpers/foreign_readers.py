"""Readers of what other programs write, with files that they take."""

from __future__ import annotations

import bz2
import io
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import vocabulary_files
from annotation_files import EAF, FORMS
from fuzzing import Reader
from pose_files import deeplabcut, deeplabcut_fixed, deeplabcut_table, poses, sleap
from readers import const, read_caption_file, read_table, read_text
from unrolled.apps.plots.curves import read_run
from unrolled.data.tokenizer import Subwords
from unrolled.data.translation.pairs import file_pairs
from unrolled.data.video.annotations.reading import read_annotations
from unrolled.data.video.annotations.segments import ends_of
from unrolled.data.video.pose.tables import features_of, read_pose
from unrolled.data.vocabularies.given import read_vocabulary

WORDS = (("ein Hund", "a dog"), ("zwei Katzen & mehr", "two cats & more"), ("drei", "three"))
TMX = """<?xml version="1.0" encoding="UTF-8"?><tmx version="1.4"><header srclang="de"/><body>
<tu><tuv xml:lang="de"><seg>ein <ph>x</ph>Hund</seg></tuv><tuv xml:lang="en"><seg>a dog</seg></tuv>
</tu><tu><tuv xml:lang="de"><seg>zwei</seg></tuv><tuv xml:lang="en"><seg>two</seg></tuv></tu>
</body></tmx>"""
WMT = """<?xml version="1.0" encoding="UTF-8"?><dataset id="x"><doc id="1" origlang="de">
<src lang="de"><p><seg id="1">ein Hund</seg><seg id="2">zwei</seg></p></src>
<ref lang="en" translator="A"><p><seg id="1">a dog</seg><seg id="2">two</seg></p></ref>
</doc></dataset>"""
SGM = """<srcset setid="x" srclang="any"><doc docid="1"><p>
<seg id="1">ein Hund & mehr</seg>
<seg id="2">zwei</seg></p></doc></srcset>"""


def parquet(_: Path) -> list[bytes]:
    names = pa.table({"image": ["a.jpg", "b.jpg"], "caption": ["A dog.", "Two."]})
    pq.write_table(names, file := io.BytesIO())
    return [file.getvalue()]


def opus(_: Path) -> list[bytes]:
    found = []
    for name in ("X.de-en", "\n\nX"):
        with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
            for side, language in enumerate(("de", "en")):
                text = "".join(f"{pair[side]}\n" for pair in WORDS)
                archive.writestr(f"{name}.{language}", text)
        found.append(file.getvalue())
    return found


def read_labels(path: Path) -> None:
    found = read_annotations(path)
    ends, _ = ends_of(found)
    for one in found:
        sorted(one.with_ends(ends).names())


def read_tagged(path: Path) -> None:
    (path.parent / "other.de").write_text("ein Hund\nzwei\n")
    for pair in file_pairs(str(path), str(path.parent / "other.de")).read():
        "".join(pair).encode()


def written(write: Callable[..., Path], folder: Path) -> list[bytes]:
    found = []
    for people in (1, 2):
        path = write(folder / "x.part", poses(4, people))
        found.append(path.read_bytes())
        path.unlink()
    return found


def read_poses(path: Path) -> None:
    features_of(read_pose(path))


def read_vocabularies(path: Path) -> None:
    made = Subwords.from_given(read_vocabulary(str(path)))
    again = Subwords.from_spec(made.to_spec())
    again.decode(again.encode_batch(["Ein Mann, \ud800 日本 <s>"])[0])


def hugging_face(_: Path) -> list[bytes]:
    kinds = ("bytes", "spaces", "unigram", "words")
    return [vocabulary_files.hugging_face(kind).to_str().encode() for kind in kinds]


def sentencepiece(_: Path) -> list[bytes]:
    pieces = [("▁Ma", -1.0), ("nn", -1.5), *((c, -2.0) for c in "▁Mannei")][:7]
    kinds = (vocabulary_files.UNIGRAM, vocabulary_files.BPE, vocabulary_files.WORD)
    return [vocabulary_files.sentencepiece(dict(pieces).items(), kind) for kind in kinds]


def read_curves(path: Path) -> None:
    read_run(path.parent)


def pairs(form: str) -> Callable[[Path], list[bytes]]:
    return const("".join(form.format(*pair) for pair in WORDS))


FOREIGN: dict[str, Reader] = {
    "a tokenizer of Hugging Face": Reader(
        "tokenizer.json", hugging_face, read_vocabularies, "json"
    ),
    "a model of SentencePiece": Reader("sp.model", sentencepiece, read_vocabularies),
    "a list of words": Reader("vocab.txt", const("Mann\nRad\n", "a 1\nb 2\n"), read_vocabularies),
    **{
        f"labels: {name}": Reader(
            f"clip.{name}", const(text), read_labels, "json" * name.endswith(("json", "boris"))
        )
        for name, text in FORMS.items()
    },
    "labels of ELAN": Reader("clip.eaf", const(EAF), read_labels),
    "labels of DeepEthogram": Reader(
        "clip.csv", const(",background,walk\n0,1,0\n1,0,1\n2,0,1\n"), read_labels
    ),
    "labels of ActivityNet": Reader(
        "clip.json",
        const('{"database": {"v": {"annotations": [{"segment": [0.5, 3], "label": "Dance"}]}}}'),
        read_labels,
        "json",
    ),
    "labels with blanks": Reader(
        "clip.txt", const("30 120 G1\n121 300 G5\n", "1-30 SIL\n31-90 cup\n"), read_labels
    ),
    "poses as CSV": Reader("x.csv", partial(written, deeplabcut), read_poses),
    "poses as a table of pandas": Reader("x.h5", partial(written, deeplabcut_table), read_poses),
    "poses as arrays of pandas": Reader("x.h5", partial(written, deeplabcut_fixed), read_poses),
    "poses of SLEAP": Reader("x.h5", partial(written, sleap), read_poses),
    "a translation memory": Reader("x.tmx", const(TMX), read_table),
    "a test set of WMT": Reader("x.xml", const(WMT), read_table),
    "one side of a test set": Reader("x.sgm", const(SGM), read_tagged),
    "tagged talks": Reader(
        "train.tags.de-en.en", const("<url>x</url>\na dog\n<title>t</title>\ntwo\n"), read_tagged
    ),
    "pairs of Moses": Reader("x.txt", pairs("{} ||| {}\n"), read_table),
    "pairs with their origin": Reader("deu.txt", pairs("{1}\t{0}\tCC-BY #1\n"), read_table),
    "pairs with numbers": Reader("x.tsv", pairs("7\t{}\t8\t{}\n"), read_table),
    "pairs in an archive": Reader("de-en.txt.zip", opus, read_table),
    "captions with bars": Reader(
        "results.csv",
        const("image_name| comment_number| comment\na.jpg| 0| A dog.\na.jpg| 1| One .\n"),
        read_caption_file,
    ),
    "captions by name": Reader(
        "captions.json",
        const('{"a.jpg": ["A dog.", "One."], "b.jpg": "Two."}', '[{"image": "a", "text": "A"}]'),
        read_caption_file,
        "json",
    ),
    "captions in columns": Reader("captions.parquet", parquet, read_caption_file),
    "packed text (bzip2)": Reader("x.bz2", const(bz2.compress(b"the cat sat\n" * 9)), read_text),
    "curves": Reader("metrics.csv", const("epoch,step,val/loss\n0,1,2.5\n0,2,2.25\n"), read_curves),
}
