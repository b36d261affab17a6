"""One clip's labels in the forms of the tools that write them: frames 2 to 4 walk, 5 to 8 rest."""

from __future__ import annotations

import json

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
