"""Programs of `torch.export`: the numbers and words of the checkpoint, with torch and no other."""

from __future__ import annotations

import json
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import unrolled
from app_models import PICTURES, SOURCES, save
from export_pages import run_page
from PIL import Image
from unrolled.apps.exports.torch_files import TorchFiles
from unrolled.cli import main
from unrolled.core import GRU, Bidirectional
from unrolled.errors import UsageError
from unrolled.tasks import VideoLabelling

ALONE = {"without": ("unrolled", "onnxruntime", "onnx")}


@pytest.fixture(scope="module")
def exported(folder):
    """Export a model of the folder, once."""

    def export(name: str) -> Path:
        out = folder / f"{name}-torch"
        if not out.exists():
            assert main(["export", str(folder / f"{name}.ckpt"), "--format", "torch"]) == 0
        return out

    return export


def program(path: Path):
    return torch.export.load(path).module()


@pytest.mark.slow
def test_a_language_model_streams_as_it_does_itself(folder, exported, capsys):
    """A row and three of them, a thousand steps one by one and at once; also from a state."""
    model, out = unrolled.load(folder / "lm.ckpt"), exported("lm")
    step, sequence = program(out / "step.pt2"), program(out / "sequence.pt2")
    start = [torch.tensor(value) for value in json.loads((out / "start.json").read_text()).values()]
    with torch.inference_mode():
        for rows in (1, 3):
            symbols = torch.randint(model.vocabulary.size, (rows, 1000))
            expected, last = model(symbols)
            state = [leaf.repeat(rows, 1) for leaf in start]
            after, found = sequence(state, symbols)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
            torch.testing.assert_close(after[0], last.hidden, atol=1e-5, rtol=0)
            torch.testing.assert_close(
                sequence(after, symbols[:, :1])[1], model(symbols[:, :1], last)[0]
            )
            for t in range(1000):
                state, logits = step(state, symbols[:, t])
                torch.testing.assert_close(logits, expected[:, t], atol=1e-5, rtol=0)
    for path in out.glob("*.pt2"):
        with zipfile.ZipFile(path) as archive:
            parts = b"".join(map(archive.read, archive.namelist()))
        assert str(Path(unrolled.__file__).parent).encode() not in parts
        assert str(Path(torch.__file__).parent).encode() not in parts
    said = run_page(out, ('= "", 200, 0.8', '= "ab", 30, 0'), **ALONE)
    assert said == ("ab" + model.generate("ab", length=30, temperature=0)).splitlines()
    assert main(["generate", str(out)]) == 2
    assert "commands don't run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_translation_has_the_same_words(folder, exported):
    model, out = unrolled.load(folder / "translation.ckpt"), exported("translation")
    for source in SOURCES[:2]:
        said = run_page(out, ('text = ""', f"text = {source!r}"), **ALONE)
        assert said == [model.translate(source, beam_size=1)]
    encoder, decoder = program(out / "encoder.pt2"), program(out / "decoder.pt2")
    with torch.inference_mode():
        ids = torch.randint(4, model.source.size, (2, 7))
        found = encoder(ids)
        read = model.encoder(ids)
        prepared = model.decoder.prepare(read)
        torch.testing.assert_close(found[0], prepared.keys)
        held = [leaf.expand(-1, 3, -1) for leaf in found[3:]]
        _, logits, (seen,) = decoder(held, torch.ones(2, 3, dtype=torch.int64), found[:3])
        assert (logits.shape[:2], seen.shape) == ((2, 3), (2, 3, 7))
        torch.testing.assert_close(logits[:, 0], logits[:, 2])
        begin = model.decoder.initial_state(read)
        expected, _ = model.decoder.step(torch.ones(2, dtype=torch.int64), begin, prepared)
        torch.testing.assert_close(logits[:, 0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_caption_has_the_same_words(folder, exported):
    model, out = unrolled.load(folder / "caption.ckpt"), exported("caption")
    for name in PICTURES[:2]:
        Image.open(folder / name).save(out / "image.png")
        said = run_page(out, ("image.jpg", "image.png"), **ALONE)
        assert said == [model.caption(folder / name, beam_size=1)]


@pytest.mark.slow
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_a_video_has_the_same_labels(folder, tmp_path, both, several):
    torch.manual_seed(0)
    spec = {"background": [], "feature_size": 3, "image_size": 0, "stride": 1}
    core = partial(GRU, hidden_size=6)
    core = partial(Bidirectional, core=core) if both else core
    task = VideoLabelling({**spec, "classes": ["x", "y", "z"]}, core, multilabel=several)
    save(task, tmp_path / "video.ckpt")
    out = tmp_path / "out"
    words = ["export", str(tmp_path / "video.ckpt"), "--format", "torch", "--out", str(out)]
    assert main(words) == 0
    frames = np.load(folder / "a.npy").T.astype(np.float32)
    np.save(out / "video.npy", frames)
    expected = unrolled.load(tmp_path / "video.ckpt").label(frames)
    said = run_page(out, **ALONE)
    assert said == [f"{number} {one.name}" for number, one in enumerate(expected)]


def test_what_torch_can_not_follow_is_said(tmp_path):
    class Counted(torch.nn.Module):
        def forward(self, x):
            return x / len(x) if x.sum() > 0 else x

    with pytest.raises(UsageError, match="can't make a program of Counted"):
        TorchFiles(tmp_path)._save("x", Counted(), (torch.ones(3, 4),), ({0: "batch"},))
