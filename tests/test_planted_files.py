"""Planted configurations, tokenizers, data and media: nothing of them is run by any command."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from corpora import write_ms_tcn
from covering import ALL_OR_SOME, in_turn
from lightning.pytorch import Trainer
from unrolled.cli import main
from unrolled.core import GRU, FrameEncoder, SmallCNN
from unrolled.data import ScenesData
from unrolled.data.tokenizer import Subwords
from unrolled.data.video.clips.module import write_video
from unrolled.tasks import Captioning, Translation, VideoLabelling

TRACE = "executed"  # what a payload makes in the working folder when it is run
SHELL = f"touch {TRACE}"
SMALL = partial(GRU, hidden_size=4)
CNN = partial(SmallCNN, channels=[4, 4, 4, 4])


class Reduced:
    """What pickle would rebuild by calling a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (TRACE,)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A checkpoint of each task that reads files of its own."""
    folder = tmp_path_factory.mktemp("models")
    words = Subwords.train(["ein hund", "a dog runs"], size=30).to_spec()
    labels = {"classes": ["a", "b"], "background": [], "stride": 1}
    scenes = ScenesData(4, 1, test_size=1, cache_dir=str(folder / "cache"))
    encoder = partial(FrameEncoder, backbone=partial(SmallCNN, channels=[4]))
    made = {
        "translation": Translation(
            {"source": words, "target": words, "joint": True}, SMALL, SMALL, embedding_size=4
        ),
        "features": VideoLabelling({**labels, "feature_size": 3, "image_size": 0}, SMALL),
        "video": VideoLabelling(
            {**labels, "feature_size": 0, "image_size": 8}, SMALL, encoder=encoder
        ),
        "captioning": Captioning(scenes.spec, decoder=SMALL, embedding_size=4),
    }
    for name, model in made.items():
        trainer = Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=folder
        )
        trainer.strategy.connect(model)
        trainer.save_checkpoint(folder / f"{name}.ckpt")
    return folder


@pytest.fixture
def work(models, tmp_path, monkeypatch) -> Path:
    """A folder to work in, from which nothing is asked of the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    for checkpoint in models.glob("*.ckpt"):
        shutil.copy(checkpoint, tmp_path)
    Path("text.txt").write_text("the cat sat on the mat. " * 40)
    return tmp_path


def refused(capsys, words: list[str], code: int = 3) -> str:
    """Carry out a command that has to fail in two lines, and run nothing; return what it says."""
    capsys.readouterr()
    assert main(words) == code, (words, capsys.readouterr().err)
    said = capsys.readouterr().err.strip()
    errors = said[said.rindex("unrolled: error:") :]
    assert len(errors.splitlines()) <= 2, said
    assert "Traceback" not in said
    assert not Path(TRACE).exists(), words
    return said


def archive(name: str, content: bytes) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as packed:
        packed.writestr(name, content)
    return file.getvalue()


def saved(content: Any) -> bytes:
    torch.save(content, file := io.BytesIO())
    return file.getvalue()


def array(content: Any) -> bytes:
    np.save(file := io.BytesIO(), np.array(content, dtype=object), allow_pickle=True)
    return file.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


PICKLE = pickle.dumps(Reduced())
SCRIPT = f"#!/bin/sh\n{SHELL}\n".encode()
POSTSCRIPT = (
    f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({TRACE}) (w) file\n%%EOF\n".encode()
)
SVG = (
    b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    b'<svg xmlns="http://www.w3.org/2000/svg"><script>x</script><text>&x;</text></svg>'
)

FEATURES = {
    "a pickle": PICKLE,
    "an array of objects": array([[Reduced()] * 3]),
    "an archive with a pickle": archive("arr_0.npy", array([Reduced()])),
    "weights with code": saved(Reduced()),
    "a header that calls": header(f"{{'descr': __import__('os').system('{SHELL}')}}\n"),
    "a header of objects": header(
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 3)}\n",
    ),
    "a header of records": header(
        "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1, 3)}\n"
    ),
    "a header of exabytes": header(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 1000000000000000)}\n"
    ),
    "a header without end": header("{'descr': " + "(" * 5_000 + "\n"),
}


@ALL_OR_SOME
@pytest.mark.parametrize("payload", FEATURES)
def test_features(work, capsys, payload, every):
    Path("x.npy").write_bytes(FEATURES[payload])
    videos = {name: (np.zeros((2, 3), np.float32), [0, 1]) for name in ("a", "b", "c")}
    write_ms_tcn(work, videos, test=["c"])
    Path("features/a.npy").write_bytes(FEATURES[payload])
    ways = [
        ("x.npy", ["label", "features.ckpt", "x.npy"]),
        ("", ["label", "features.ckpt", "x.npy", "--stream", "true"]),
        ("a.npy", ["fit", "video/segmentation", "--data.root", "."]),
    ]
    for name, words in in_turn(ways, [*FEATURES].index(payload), every=every):
        assert name in refused(capsys, words)


IMAGES = {
    "a pickle": PICKLE,
    "PostScript": POSTSCRIPT,
    "PostScript in a DOS file": b"\xc5\xd0\xd3\xc6" + (32).to_bytes(4, "little") + POSTSCRIPT,
    "SVG": SVG,
    "a script": SCRIPT,
    "weights with code": saved(Reduced()),
    "PDF": b"%PDF-1.4\n1 0 obj << /OpenAction << /S /Launch /F (touch executed) >> >> endobj\n",
    "ImageMagick's": f"push graphic-context\nimage over 0,0 0,0 '|{SHELL}'\n".encode(),
}


OFFLINE = ("--model.encoder.backbone", "SmallCNN")  # whose weights need no network


@ALL_OR_SOME
@pytest.mark.parametrize("payload", IMAGES)
def test_images(work, capsys, payload, every):
    Path("pictures").mkdir()
    Path("pictures/x.png").write_bytes(IMAGES[payload])
    ways = [
        ["caption", "captioning.ckpt", "pictures/x.png"],
        ["fit", "captioning/csv", "--data.root", "csv", *OFFLINE],
        ["label", "video.ckpt", "pictures"],
        ["fit", "video/files", "--data.root", "clips"],
        ["caption", "captioning.ckpt", "pictures"],
    ]
    shutil.copytree("pictures", "csv")
    shutil.copytree("pictures", "clips/pictures")
    Path("csv/captions.csv").write_text("image,caption\nx.png,a dog\n")
    Path("clips/pictures/labels.csv").write_text("start,end,label\n0,1,a\n")
    for words in in_turn(ways, [*IMAGES].index(payload), every=every, count=2):
        if words[0] == "fit":
            assert main(words) == 3
            assert "x.png" in capsys.readouterr().err
        else:
            assert "x.png" in refused(capsys, words)
    assert not Path(TRACE).exists()


VIDEOS = {
    "a pickle": PICKLE,
    "a script": SCRIPT,
    "weights with code": saved(Reduced()),
    "a list of files": b"ffconcat version 1.0\nfile secret.mp4\n",
    "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "a playlist of the network": b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    "a session": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    "a manifest": b'<?xml version="1.0"?><MPD><Period><BaseURL>secret.mp4</BaseURL></Period></MPD>',
    "AviSynth": f'Import("{TRACE}")\n'.encode(),
}


@ALL_OR_SOME
@pytest.mark.parametrize("payload", VIDEOS)
def test_videos(work, capsys, payload, every):
    write_video(Path("secret.mp4"), np.zeros((3, 16, 16, 3), np.uint8))
    Path("in/a").mkdir(parents=True)
    Path("in/a/x.mp4").write_bytes(VIDEOS[payload])
    shutil.copy("secret.mp4", "in/a/secret.txt")
    ways = ["label", "video.ckpt", "in/a/x.mp4"], ["fit", "video/files", "--data.root", "in"]
    for words in in_turn(ways, [*VIDEOS].index(payload), every=every):
        assert "x.mp4" in refused(capsys, words)


CONFIGURATIONS = {
    "a call": f"seed: !!python/object/apply:os.system ['{SHELL}']\n",
    "a call as a key": f"? !!python/object/apply:os.system ['{SHELL}']\n: 1\n",
    "a new object": f"seed: !!python/object/new:subprocess.Popen [['touch', '{TRACE}']]\n",
    "a name": "seed: !!python/name:os.system\n",
    "a module": "seed: !!python/module:planted\n",
    "an object": "seed: !!python/object:planted.Core {}\n",
    "a tag of its own": "seed: !ruby/object:Gem::Installer {i: x}\n",
    "a tag of a document": "%TAG ! tag:yaml.org,2002:python/\n---\nseed: !name:os.system\n",
    "code in a second document": f"a: 1\n---\n!!python/object/apply:os.system ['{SHELL}']\n",
    "a nest": "[" * 3_000,
    "a long number": "seed: " + "9" * 5_000,
}


@ALL_OR_SOME
@pytest.mark.parametrize("payload", CONFIGURATIONS)
def test_configurations(work, capsys, monkeypatch, payload, every):
    monkeypatch.syspath_prepend(work)
    Path("planted.py").write_text(f"open({TRACE!r}, 'w')\nclass Core: pass\n")
    Path("x.yaml").write_text(CONFIGURATIONS[payload])
    ways = (
        ["fit", "x.yaml"],
        ["fit", "char_lm", "--config", "x.yaml"],
        ["fit", "x.yaml", "--print_config"],
        ["test", "x.yaml", "--ckpt_path", "video.ckpt"],
        ["validate", "--config", "x.yaml", "--ckpt_path", "video.ckpt"],
    )
    for words in in_turn(ways, [*CONFIGURATIONS].index(payload), every=every):
        assert "x.yaml" in refused(capsys, words, 2)


def component(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plain: plain.update(changes)


def learnt(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plain: plain["model"].update(changes)


TOKENIZERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "a map that panics": component(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    ),
    "a pattern without end": component(
        pre_tokenizer={
            "type": "Split",
            "pattern": {"Regex": "(x+x+)+y"},
            "behavior": "Isolated",
            "invert": False,
        }
    ),
    "text that grows": component(
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": ""}, "content": "x" * 99}]
            * 9,
        }
    ),
    "another decoder": component(decoder={"type": "ByteLevel"}),
    "a template": component(post_processor={"type": "ByteLevel", "add_prefix_space": True}),
    "padding": component(padding={"strategy": {"Fixed": 1 << 40}, "direction": "Right"}),
    "added symbols": component(added_tokens=[{"id": 9, "content": "", "special": True}]),
    "pieces with holes": learnt(vocab={"special unknown": 1 << 31}, merges=[]),
    "merges of no pieces": learnt(merges=[["special unknown", "h"]]),
    "no unknown symbol": learnt(unk_token="x"),
    "chance": learnt(dropout=0.5),
    "no model": lambda plain: plain.pop("model"),
}


@ALL_OR_SOME
@pytest.mark.parametrize("payload", TOKENIZERS)
def test_tokenizers(work, capfd, payload, every):
    content = torch.load("translation.ckpt", weights_only=True)
    spec = content["hyper_parameters"]["spec"]
    plain = json.loads(spec["source"]["tokenizer"])
    TOKENIZERS[payload](plain)
    spec["source"] = spec["target"] = {"kind": "bpe", "tokenizer": json.dumps(plain)}
    torch.save(content, "translation.ckpt")
    data = ["--data.root", ".", "--data.source", "de", "--data.target", "en"]
    for suffix in ("de", "en"):
        for part in ("train", "val", "test"):
            Path(f"{part}.{suffix}").write_text("ein hund\n")
    ways = (
        ["translate", "translation.ckpt", "text.txt"],
        ["test", "translation/parallel", *data, "--ckpt_path", "translation.ckpt"],
        ["fit", "translation/parallel", *data, "--init_from", "translation.ckpt"],
    )
    for words in in_turn(ways, [*TOKENIZERS].index(payload), every=every):
        said = refused(capfd, words)
        assert "subwords" in said
        assert "panicked" not in said


def loading_script(folder: Path) -> None:
    (folder / "data.py").write_text(
        f"import datasets\nopen({str(folder.parent / TRACE)!r}, 'w')\n"
        "class Data(datasets.GeneratorBasedBuilder):\n    pass\n"
    )


def extension(folder: Path, *, arrow: bool = False) -> None:
    kind = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": PICKLE,
    }
    field = pa.field("text", pa.binary(), metadata=kind)
    table = pa.table([pa.array([b"x"])], schema=pa.schema([field]))
    if not arrow:
        pq.write_table(table, folder / "train.parquet")
        return
    with pa.ipc.new_stream(folder / "data.arrow", table.schema) as out:
        out.write_table(table)
    state = {"_data_files": [{"filename": "data.arrow"}], "_fingerprint": "x", "_split": "train"}
    state |= {"_format_columns": None, "_format_kwargs": {}, "_format_type": None}
    state |= {"_output_all_columns": False}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


DATASETS: dict[str, Callable[[Path], object]] = {
    "a loading script": loading_script,
    "a column of a pickled type": extension,
    "a saved column of a pickled type": partial(extension, arrow=True),
    "a pickle as its state": lambda folder: (folder / "state.json").write_bytes(PICKLE),
    "a pickle as its rows": lambda folder: (folder / "train.parquet").write_bytes(PICKLE),
    "an archive out of its folder": lambda folder: (folder / "train.zip").write_bytes(
        archive(f"../{TRACE}", b"x")
    ),
    "rows that name code": lambda folder: (folder / "train.jsonl").write_text(
        '{"text": {"py/reduce": [{"py/function": "os.mkdir"}, ["executed"]]}}\n'
    ),
    "no rows": lambda folder: (folder / "planted.pth").write_text("import planted\n"),
}


@ALL_OR_SOME
@pytest.mark.parametrize("payload", DATASETS)
def test_data_sets(work, capsys, payload, every):
    (work / "data").mkdir()
    DATASETS[payload](work / "data")
    ways = (
        ["char_lm/text", "--data.path", "null", "--data.dataset", "data"],
        "translation/parallel --data.dataset data --data.source de --data.target en".split(),
        ["captioning/datasets", "--data.dataset", "data", *OFFLINE],
    )
    for words in in_turn(ways, [*DATASETS].index(payload), every=every):
        refused(capsys, ["fit", *words])


def test_an_image_out_of_the_folder_is_not_looked_for(work, capsys):
    Path("in/images").mkdir(parents=True)
    Path("in/captions.csv").write_text("image,caption\nimages/../../text.txt,a dog\n")
    assert "None of the 1 images" in refused(
        capsys, ["fit", "captioning/csv", "--data.root", "in", *OFFLINE]
    )
