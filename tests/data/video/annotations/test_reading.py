"""Labels as programs write them: each form read to the frame, each fault named."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from unrolled.data.video.annotations.reading import Reading, read_annotations
from unrolled.data.video.annotations.segments import Timing, ends_of
from unrolled.errors import DataError

TIMES = Timing(10, np.arange(10) / 10)
CLASSES = {"walk": 0, "rest": 1, "groom": 2}
# walk in 0.2 to 0.5 s, rest in 0.5 to 0.9 s
EXPECTED = [-100, -100, 0, 0, 0, 1, 1, 1, 1, -100]

BORIS_OLD = """Observation id\tone\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t
Media file(s)\t\t\t\t\t\t\t\t
Player #1\tclip.mp4\t\t\t\t\t\t\t
Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tCategory\tComment\tStatus
0.200\tclip.mp4\t1.0\t10\tNo focal subject\twalk\t\t\tSTART
0.500\tclip.mp4\t1.0\t10\tNo focal subject\twalk\t\t\tSTOP
0.500\tclip.mp4\t1.0\t10\tNo focal subject\trest\t\t\tSTART
0.900\tclip.mp4\t1.0\t10\tNo focal subject\trest\t\t\tSTOP
"""
BORIS_NEW = """Observation id,Subject,Behavior,Category,Behavior type,Time,Media file name,Comment
one,mouse,rest,,START,0.5,videos/clip.mp4,
one,mouse,walk,,START,0.2,videos/clip.mp4,"a ""quoted"", word"
one,mouse,walk,,STOP,0.5,videos/clip.mp4,
one,mouse,lick,,POINT,0.6,videos/clip.mp4,
one,mouse,rest,,STOP,0.9,videos/clip.mp4,
"""
BORIS_AGGREGATED = """Id,Media file name,Subject,Behavior,Behavior type,Start (s),Stop (s)
one,clip.mp4,mouse,walk,STATE,0.2,0.5
one,clip.mp4,mouse,lick,POINT,0.6,0.6
one,clip.mp4,mouse,rest,STATE,0.5,0.9
"""
BORIS_PROJECT = {
    "behaviors_conf": {
        "0": {"code": "walk", "type": "State event", "key": "w"},
        "1": {"code": "rest", "type": "State event", "key": "r"},
        "2": {"code": "lick", "type": "Point event", "key": "l"},
    },
    "observations": {
        "one": {
            "file": {"1": ["/videos/clip.mp4"], "2": []},
            "events": [
                [0.2, "", "walk", "", ""],
                [0.5, "", "walk", "", "", 5],
                [0.5, "", "rest", "", ""],
                [0.6, "", "lick", "", ""],
                [0.9, "", "rest", "", ""],
            ],
        }
    },
}
EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">
 <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
  <MEDIA_DESCRIPTOR MEDIA_URL="file:///videos/clip.mp4" MIME_TYPE="video/mp4"/></HEADER>
 <TIME_ORDER>
  <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="200"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="500"/>
  <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="900"/></TIME_ORDER>
 <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="mouse">
  <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
   <ANNOTATION_VALUE>walk</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
   <ANNOTATION_VALUE>rest</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
 </TIER>
 <TIER LINGUISTIC_TYPE_REF="note" PARENT_REF="mouse" TIER_ID="notes">
  <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
   <ANNOTATION_VALUE>groom</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
 </TIER>
</ANNOTATION_DOCUMENT>
"""
ELAN_TAB = (
    "mouse\t\t00:00:00.200\t0.2\t200\t00:00:00.500\t0.5\t500\t00:00:00.300\t0.3\t300\twalk\n"
    "mouse\t\t00:00:00.500\t0.5\t500\t00:00:00.900\t0.9\t900\t00:00:00.400\t0.4\t400\trest\n"
)
ELAN_HEAD = (
    "Tier\tBegin Time - ss.msec\tEnd Time - ss.msec\tDuration - ss.msec\tAnnotation\n"
    "mouse\t0.2\t0.5\t0.3\twalk\nmouse\t0.5\t0.9\t0.4\trest\n"
)
VIA_CSV = """# Exported using VGG Image Annotator
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"1_a","[""clip.mp4""]",0,"[0.2,0.5]","[]","{""1"":""walk""}"
"1_b","[""clip.mp4""]",0,"[0.5,0.9]","[]","{""1"":""rest""}"
"""
VIA_PROJECT = {
    "project": {"pid": "1"},
    "attribute": {"1": {"aname": "behaviour", "options": {"0": "walk", "1": "rest"}}},
    "file": {"1": {"fid": "1", "fname": "clip.mp4"}},
    "view": {"1": {"fid_list": ["1"]}},
    "metadata": {
        "1_a": {"vid": "1", "flg": 0, "z": [0.2, 0.5], "xy": [], "av": {"1": "0"}},
        "1_b": {"vid": "1", "flg": 0, "z": [0.5, 0.9], "xy": [], "av": {"1": "1"}},
    },
}
FORMS = {
    "boris.tsv": BORIS_OLD,
    "boris.csv": BORIS_NEW,
    "aggregated.csv": BORIS_AGGREGATED,
    "aggregated.tsv": BORIS_AGGREGATED.replace(",", "\t"),
    "project.boris": json.dumps(BORIS_PROJECT),
    "elan.txt": ELAN_TAB,
    "head.txt": ELAN_HEAD,
    "clock.csv": "start,end,label\n0:00.2,0:00.5,walk\n00:00:00.5,00:00:00.9,rest\n",
    "via.csv": VIA_CSV,
    "via.json": json.dumps(VIA_PROJECT),
    "seconds.csv": "start (s),end (s),behaviour\n0.2,0.5,walk\n.5,0.9,rest\n".replace(
        ",.5", ",0.5"
    ).replace("\n.5", "\n0.5"),
    "fractions.csv": "label;begin;stop\nwalk;0,2;0,5\nrest;0,5;0,9\n",
    "milliseconds.tsv": "onset_ms\toffset_ms\tclass\n200\t500\twalk\n500\t900\trest\n",
    "duration.csv": "onset,duration,label\n0.2,0.3,walk\n0.5,0.4,rest\n",
    "audacity.txt": "0.200000\t0.500000\twalk\n0.500000\t0.900000\trest\n",
    "frames.csv": "start_frame|end_frame|action\n2|5|walk\n5|9|rest\n",
    "bom.csv": "\ufeffStart,End,Label\r\n2,5,walk\r\n\r\n5,9,rest\r\n",
    "bare.csv": "2,5,walk\n5,9,rest\n",
}


@pytest.fixture
def read(tmp_path):
    def read(name: str, text: str, **how):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        return read_annotations(path, Reading(**how))

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
        ("a.eaf", EAF[:900], "is no whole XML"),
        ("a.eaf", "<html></html>", "is no .eaf of ELAN: it begins with <html>"),
        ("a.eaf", EAF.replace('TIME_VALUE="200"', ""), "the annotation walk has no time"),
        (
            "a.eaf",
            '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>',
            "declares a document type",
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
