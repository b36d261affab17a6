"""More files of one's own: other encodings, lines above tables, names that were typed elsewhere."""

from __future__ import annotations

import gzip
import json
import unicodedata

import pytest
from PIL import Image
from unrolled.data.captioning.files import read_captions
from unrolled.data.captioning.finding import ImageFinder
from unrolled.data.translation.tables import table_pairs
from unrolled.data.video.annotations.reading import read_annotations
from unrolled.data.video.files import find_videos
from unrolled.errors import DataError

PAIRS = [("der Hund", "the dog"), ("die Katze", "the cat"), ("ein Haus", "a house")]
CAPTIONS = "image,caption\na.jpg,a dog\nb.jpg,a cat\n"
SEGMENTS = "start,end,label\n0,1.5,run\n1.5,3,walk\n"
WANTED = [(0, 1.5, "run"), (1.5, 3, "walk")]


def pairs_of(path):
    return list(table_pairs(str(path), "de", "en").read())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_what_a_byte_order_mark_names_is_read(tmp_path, encoding):
    """Excel's "Unicode text" is UTF-16."""
    text = "de\ten\r\n" + "".join(f"{a}\t{b}\r\n" for a, b in PAIRS)
    (tmp_path / "pairs.txt").write_text(text, encoding=encoding)
    assert pairs_of(tmp_path / "pairs.txt") == PAIRS
    (tmp_path / "captions.csv").write_text(CAPTIONS, encoding=encoding)
    assert len(read_captions(tmp_path / "captions.csv", "auto").entries) == 2
    (tmp_path / "a.csv").write_text(SEGMENTS, encoding=encoding)
    (found,) = read_annotations(tmp_path / "a.csv")
    assert [one[:3] for one in found.segments] == WANTED


def test_a_cut_one_and_other_encodings_are_told(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_bytes("de\ten\nHund\tdog\n".encode("utf-16")[:-1])
    with pytest.raises(DataError, match="begins as utf-16, and is not"):
        pairs_of(path)
    path.write_bytes("de\ten\nHund\tdög\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="iconv -t utf-8 -f utf-16"):
        pairs_of(path)
    path.write_bytes("de\ten\nBär\tbear\n".encode("latin-1"))
    with pytest.raises(DataError, match="iconv -t utf-8 -f latin1"):
        pairs_of(path)


def test_lines_above_a_table_are_left_out_and_said(tmp_path):
    text = "# made by me\n# in 2024, by hand\nimage,caption,x\na.jpg,a dog,1\nb.jpg,# a cat,2\n"
    (tmp_path / "captions.csv").write_text(text)
    found = read_captions(tmp_path, "auto")
    assert [one.captions for one in found.entries] == [("a dog",), ("# a cat",)]
    assert "2 line(s) above the table, as '# made by me', are left out" in found.told[0]
    rows = [("# 1 Hund", "# 1 dog"), *PAIRS]  # no lines above: they are pairs
    (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in rows))
    assert pairs_of(tmp_path / "pairs.tsv") == rows


def test_an_empty_table_is_called_so(tmp_path):
    for name in ("captions.csv", "a.csv"):
        (tmp_path / name).write_text("\n\n")
    for read in (
        lambda: list(read_captions(tmp_path, "auto")),
        lambda: pairs_of(tmp_path / "a.csv"),
        lambda: read_annotations(tmp_path / "a.csv"),
    ):
        with pytest.raises(DataError, match="is empty"):
            read()


def test_a_quote_that_takes_in_other_rows_is_told(tmp_path):
    (tmp_path / "captions.csv").write_text('image,caption\na.jpg,"a dog\nb.jpg,"a cat\nc.jpg,x\n')
    with pytest.raises(DataError, match=r"line 3: expected a row of CSV .* not closed\?"):
        read_captions(tmp_path, "auto")
    whole = 'image,caption\na.jpg,"a dog\nand more"\nb.jpg,a "big" cat\n'
    (tmp_path / "captions.csv").write_text(whole)
    captions = [one.captions for one in read_captions(tmp_path, "auto").entries]
    assert captions == [("a dog\nand more",), ('a "big" cat',)]


@pytest.mark.parametrize("header", ["sentence1,sentence2", "Text A,Text B", "premise_1,lang2"])
def test_counted_names_of_columns_are_no_pair(tmp_path, header):
    rows = "".join(f"{a},{b}\n" for a, b in PAIRS)
    (tmp_path / "pairs.csv").write_text(f"{header}\n{rows}")
    with pytest.raises(DataError, match="expected the names of the columns"):
        pairs_of(tmp_path / "pairs.csv")


def test_images_are_found_whatever_form_their_accents_have(tmp_path):
    for form in ("NFC", "NFD"):
        Image.new("RGB", (8, 8)).save(tmp_path / unicodedata.normalize(form, f"Bär {form}.jpg"))
    names = [unicodedata.normalize("NFD", "Bär NFC.jpg"), unicodedata.normalize("NFC", "Bär NFD")]
    paths, wrong = ImageFinder(tmp_path, [], None).all_of(names, "captions.csv")
    assert not wrong
    assert [path.stem[-3:] for path in paths] == ["NFC", "NFD"]


def test_files_of_captions_in_capitals_and_of_other_names(tmp_path):
    (tmp_path / "CAPTIONS.CSV").write_text(CAPTIONS)
    assert len(read_captions(tmp_path, "auto").entries) == 2
    (tmp_path / "CAPTIONS.CSV").rename(tmp_path / "mine.csv")
    with pytest.raises(DataError, match=r"If 'mine.csv' is one, name the file: --data.root .*mine"):
        read_captions(tmp_path, "auto")
    (tmp_path / "mine.csv").rename(tmp_path / "captions.xlsx")
    with pytest.raises(DataError, match=r"has a spreadsheet, 'captions.xlsx'"):
        read_captions(tmp_path, "auto")


LABELS = {
    "compressed": ("a.csv.gz", gzip.compress(SEGMENTS.encode()), WANTED),
    "BIDS": ("a.tsv", "onset\tduration\ttrial_type\n0\t1.5\trun\n1.5\t1.5\twalk\n", WANTED),
    "frames from 1": ("a.csv", "frame,label\n1,run\n2,run\n3,walk\n", [(0, 1, "run")]),
    "classes from 1": ("a.csv", "frame,run,walk\n1,1,0\n2,1,0\n3,0,1\n", [(0, 2, "run")]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_read(tmp_path, name):
    file, text, wanted = LABELS[name]
    (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    (found,) = read_annotations(tmp_path / file)
    assert [one[:3] for one in found.segments][: len(wanted)] == wanted


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("a.csv", "start,end,label,label\n0,1,run,x\n", "2 columns are called 'label'"),
        ("a.csv", "frame,label\n2,run\n3,walk\n", "has no row for frame 0"),
        ("a.json", json.dumps({"_via_settings": {}, "_via_img_metadata": {}}), "VIA 2"),
    ],
)
def test_labels_that_are_not_read(tmp_path, file, text, said):
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError, match=said):
        read_annotations(tmp_path / file)


def test_labels_beside_videos_in_capitals_and_by_coded_names(tmp_path):
    for name in ("A.MP4", "b c.mp4"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypmp42" + bytes(16))
    (tmp_path / "A.CSV").write_text(SEGMENTS)
    annotation = (
        '<ANNOTATION_DOCUMENT><HEADER><MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/v/b%20c.mp4"/>'
        '</HEADER><TIME_ORDER><TIME_SLOT TIME_SLOT_ID="1" TIME_VALUE="0"/><TIME_SLOT '
        'TIME_SLOT_ID="2" TIME_VALUE="1500"/></TIME_ORDER><TIER TIER_ID="x"><ANNOTATION>'
        '<ALIGNABLE_ANNOTATION ANNOTATION_ID="a" TIME_SLOT_REF1="1" TIME_SLOT_REF2="2">'
        "<ANNOTATION_VALUE>歩く</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>"
        "</ANNOTATION_DOCUMENT>"
    )
    (tmp_path / "notes.eaf").write_text(
        f'<?xml version="1.0" encoding="UTF-16"?>{annotation}', encoding="utf-16"
    )
    labels = {one.name: one.labels for one in find_videos(tmp_path).videos}
    assert [one[:3] for one in labels["A.MP4"].segments] == WANTED
    assert [one.label for one in labels["b c.mp4"].segments] == ["歩く"]


def test_videos_without_labels_are_skipped_named_and_counted(tmp_path):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(b"")
    for name in ("a.csv", "c.csv", "d.csv"):
        (tmp_path / name).write_text("start,end,label\n0,9,walk\n")
    with pytest.raises(DataError, match="leaves them out"):
        find_videos(tmp_path)
    with pytest.warns(UserWarning, match=r"1 CSV\(s\) have no video: d\.csv") as told:
        found = find_videos(tmp_path, skip=True)
    assert "1 video(s) have no CSV of labels: b.mp4" in str(told[0].message)
    assert [video.name for video in found.videos] == ["a.mp4", "c.mp4"]
