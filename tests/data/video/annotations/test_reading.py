"""Labels as programs write them: each form read to the frame, each fault named."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from annotation_files import BORIS_AGGREGATED, BORIS_NEW, BORIS_OLD, EAF, FORMS, VIA_CSV
from unrolled.data.video.annotations.reading import AnnotationReading, read_annotations
from unrolled.data.video.annotations.segments import Timing, ends_of
from unrolled.errors import DataError

TIMES = Timing(10, np.arange(10) / 10)
CLASSES = {"walk": 0, "rest": 1, "groom": 2}
# walk in 0.2 to 0.5 s, rest in 0.5 to 0.9 s
EXPECTED = [-100, -100, 0, 0, 0, 1, 1, 1, 1, -100]


@pytest.fixture
def read(tmp_path):
    def read(name: str, text: str, **how):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        return read_annotations(path, AnnotationReading(**how))

    return read


@pytest.mark.parametrize("name", FORMS)
def test_each_form_gives_the_same_frames(read, name):
    (found,) = read(name, FORMS[name])
    found = found.with_ends("excluded")
    assert found.one_label(CLASSES, TIMES).tolist() == EXPECTED
    several = found.several_labels(CLASSES, TIMES)
    assert several[:, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert several[:, 1].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
    assert found.one_label({**CLASSES, "none": 3}, TIMES, unlabelled="none").tolist() == [
        3 if number < 0 else number for number in EXPECTED
    ]


def test_an_eaf_and_its_tiers(read):
    (found,) = read("clip.eaf", EAF, tiers=["mouse"])
    assert found.one_label(CLASSES, TIMES).tolist() == EXPECTED
    assert found.video == "file:///videos/clip.mp4"
    (both,) = read("clip.eaf", EAF)
    with pytest.raises(DataError, match=r"frame 2 has a label already(.|\n)*multilabel"):
        both.one_label(CLASSES, TIMES)
    # the note refers to the first annotation, and is where that one is
    assert both.several_labels(CLASSES, TIMES)[:, 2].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    with pytest.raises(DataError, match=r"has no tier rat; its tiers .* 'mouse', 'notes'"):
        read("clip.eaf", EAF, tiers=["rat"])


def test_events_that_last_no_time_are_counted(read):
    for name in ("boris.csv", "aggregated.csv", "project.boris"):
        assert read(name, FORMS[name])[0].points == ("lick",)


def test_one_hot_knows_what_nobody_looked_at(read):
    rows = ["1,0,0", "0,1,0", "0,1,1", "0,0,0", "-1,-1,-1"]
    table = ",background,walk,rest\n" + "".join(f"{n},{row}\n" for n, row in enumerate(rows))
    (found,) = read("clip_labels.csv", table)
    classes = {"background": 0, "walk": 1, "rest": 2}
    timing = Timing(5, np.full(5, np.nan))
    assert found.several_labels(classes, timing).tolist() == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 1, 1],
        [0, 0, 0],
        [-100, -100, -100],
    ]
    assert found.names() == {"background", "walk", "rest"}
    with pytest.raises(DataError, match="frame 2 has a label already"):
        found.one_label(classes, timing)
    with pytest.raises(DataError, match="labels 5 frames, too few: the video has 6"):
        found.several_labels(classes, Timing(6, np.full(6, np.nan)))
    with pytest.raises(DataError, match="expected the row of frame 1, got 2"):
        read("clip_labels.csv", ",a,b\n0,1,0\n2,0,1\n")


def test_a_time_that_was_rounded_is_of_the_frame_it_was_taken_from(read):
    frames = 300
    times = np.arange(frames) / 29.97
    bounds = [0, 17, 18, 101, 250, frames]
    ends = [*times, frames / 29.97]
    for digits in (2, 3, 6):
        rows = "".join(
            f"{ends[a]:.{digits}f},{ends[b]:.{digits}f},c{n}\n"
            for n, (a, b) in enumerate(itertools.pairwise(bounds))
        )
        (found,) = read("a.csv", "start (s),end (s),label\n" + rows)
        numbers = found.one_label({f"c{n}": n for n in range(5)}, Timing(frames, times))
        assert numbers.tolist() == np.repeat(range(5), np.diff(bounds)).tolist()


def test_frames_are_known_by_their_time_where_the_rate_varies(read):
    times = np.array([0, 0.1, 0.2, 1.2, 1.3])
    (found,) = read("a.csv", "start (s),end (s),label\n0.2,1.2,walk\n")
    assert found.one_label(CLASSES, Timing(5, times)).tolist() == [-100, -100, 0, -100, -100]


def test_whether_ends_are_included_is_found_out(read):
    excluded = read("a.csv", "start,end,label\n0,5,x\n5,9,y\n")
    included = read("b.csv", "start,end,label\n0,4,x\n5,5,y\n6,9,x\n")
    assert ends_of(excluded)[0] == "excluded"
    assert ends_of(included)[0] == "included"
    numbers = included[0].with_ends("included").numbers({"x": 0, "y": 1}, 10)
    assert numbers.tolist() == [0] * 5 + [1] + [0] * 4
    with pytest.raises(DataError, match=r"ends \(1 x\), and one frame later \(3 x\)"):
        ends_of(excluded + included)
    for ends, end in (("excluded", 4), ("included", 5)):
        (found,) = read("b.csv", "start,end,label\n0,4,x\n", ends=ends)
        assert (found.numbers({"x": 0}, 9) == 0).sum() == end


def test_a_table_names_the_videos_that_it_is_about(read):
    table = "video,start,end,label\na.mp4,0,5,x\nb.mp4,0,3,y\na.mp4,5,9,y\n"
    assert {each.video: len(each.segments) for each in read("all.csv", table)} == {
        "a.mp4": 2,
        "b.mp4": 1,
    }
    (first, second) = read("all.csv", "video,label\na.mp4,x\nb.mp4,y\n")
    assert first.numbers({"x": 0, "y": 1}, 4).tolist() == [0] * 4
    assert second.numbers({"x": 0, "y": 1}, 2).tolist() == [1] * 2


def test_columns_are_given_by_their_names(read):
    table = "von;bis;Verhalten\n2;5;walk\n5;9;rest\n"
    with pytest.raises(
        DataError, match=r"has the columns von, bis, Verhalten(.|\n)*--data.columns"
    ):
        read("a.csv", table)
    columns = {"start": "von", "end": "bis", "label": "verhalten"}
    (found,) = read("a.csv", table, columns=columns, ends="excluded")
    assert found.numbers(CLASSES, 10).tolist() == EXPECTED
    with pytest.raises(DataError, match="There is no column 'Ende' for end"):
        read("a.csv", table, columns={**columns, "end": "Ende"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", BORIS_OLD.rsplit("\n", 2)[0], "line 8: rest starts at 0.5 s and never stops"),
        ("a.tsv", BORIS_OLD.replace("START", "STOP"), "walk stops at 0.2 s and had not started"),
        ("a.tsv", BORIS_OLD.replace("0.900", "soon"), "line 9: expected a time in seconds"),
        ("a.csv", BORIS_AGGREGATED.replace("0.2,0.5", "0.5,0.2"), "walk stops before it starts"),
        ("a.csv", BORIS_NEW.split("\n")[0] + "\none,,lick,,POINT,1,,\n", "moments: lick"),
        ("a.boris", "{}", "is a project neither of BORIS nor of VIA"),
        ("a.boris", '{"behaviors_conf": 3, "observations": {}}', "is no project of BORIS"),
        ("a.boris", "{", "is no JSON"),
        ("a.json", '{"metadata": {"a": 1}, "view": {}, "file": {}}', "is no project of VIA"),
        ("a.csv", VIA_CSV.replace("[0.2,0.5]", "[0.2,"), "line 3 is no JSON"),
        ("a.eaf", EAF[:900], "is damaged or no XML"),
        ("a.eaf", "<html></html>", "is no .eaf of ELAN: it begins with <html>"),
        ("a.eaf", EAF.replace('TIME_VALUE="200"', ""), "the annotation walk has no time"),
        (
            "a.eaf",
            '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>',
            "declares entities of its own",
        ),
        ("a.csv", "start (s),end (s),label\n1.0,0.5,x\n", "line 2: no time lies in 1.0 to 0.5"),
    ],
)
def test_what_is_wrong_is_named(read, name, text, message):
    with pytest.raises(DataError, match=message):
        read(name, text)


def test_labels_in_seconds_have_to_fit_the_video(read):
    (found,) = read("a.csv", "start (s),end (s),label\n0,12.5,walk\n")
    with pytest.raises(DataError, match=r"labels 12.50 s, too many: the video has 1.00 s"):
        found.one_label(CLASSES, TIMES)
    with pytest.raises(DataError, match=r"nothing says when(.|\n)*--data.fps"):
        found.one_label(CLASSES, Timing(10, np.full(10, np.nan)))
    cut = TIMES._replace(whole=False)
    assert found.one_label(CLASSES, cut).tolist() == [0] * 10
