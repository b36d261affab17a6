"""Exported folders: the numbers and words of the checkpoint, without torch and without ours."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import unrolled
from app_models import PICTURES, SOURCES, save
from export_pages import run_page
from PIL import Image
from unrolled.apps.exports.comparing import compared
from unrolled.apps.exports.folder import write_folder
from unrolled.apps.exports.int8 import quantise
from unrolled.apps.exports.onnx_files import OnnxFiles
from unrolled.apps.exports.running import open_folder
from unrolled.apps.plots.attention import shift_of
from unrolled.cli import main
from unrolled.core import (
    GRU,
    Bidirectional,
    FrameEncoder,
    SmallCNN,
    TimmBackbone,
    TorchvisionBackbone,
)
from unrolled.data.vocabularies.subwords import SubwordVocabulary
from unrolled.data.vocabularies.words import words_of
from unrolled.data.vocabulary import ByteVocabulary, WordVocabulary
from unrolled.tasks import CharLM, VideoLabelling, VideoModel

pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def exported(folder):
    """Export a model of the folder, once."""

    def export(name: str) -> Path:
        out = folder / f"{name}-onnx"
        if not out.exists():
            assert main(["export", str(folder / f"{name}.ckpt")]) == 0
        return out

    return export


def test_a_language_model_streams_as_torch_does(folder, exported):
    """1,000 steps of three rows; then a step at a time and all at once are the same."""
    model = unrolled.load(folder / "lm.ckpt")
    other = open_folder(exported("lm"))
    for path in exported("lm").iterdir():  # no place of this machine
        assert str(Path(unrolled.__file__).parent).encode() not in path.read_bytes()
    symbols = torch.randint(model.vocabulary.size, (3, 1000))
    with torch.inference_mode():
        expected, last = model(symbols)
        found, after = other(symbols)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(after[0], last.hidden, atol=1e-5, rtol=0)
        state = other.graphs.initial_state(3)
        for t in range(1000):
            logits, state = other.step(symbols[:, t], state)
            torch.testing.assert_close(logits, expected[:, t], atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"seed": 7, "top_k": 4}])
def test_a_language_model_writes_the_same(folder, exported, settings):
    """Prompts of several lengths, searched and drawn."""
    prompts = ["abc", "a", "c b\ta"]
    model, other = unrolled.load(folder / "lm.ckpt"), open_folder(exported("lm"))
    expected = model.generate(prompts, length=60, **settings)
    assert other.generate(prompts, length=60, **settings) == expected
    assert any(expected)
    scores, others = model.score(prompts), other.score(prompts)
    for one, two in zip(scores, others, strict=True):
        assert two.log_probabilities == pytest.approx(one.log_probabilities, abs=1e-5)


def test_the_page_of_a_language_model_runs_alone(folder, exported):
    model = unrolled.load(folder / "lm.ckpt")
    said = run_page(exported("lm"), ('= "", 200, 0.8', '= "ab", 30, 0'))
    expected = "ab" + model.generate("ab", length=30, temperature=0)
    assert said == expected.splitlines()


@pytest.mark.slow
def test_a_translation_has_the_same_words(folder, exported):
    model, other = unrolled.load(folder / "translation.ckpt"), open_folder(exported("translation"))
    for settings in ({"beam_size": 1}, {"beam_size": 3, "num_hypotheses": 2}, {"beam_size": 5}):
        # short: two lengths of a model that says one word again and again are equally good
        asked = {**settings, "max_length": 6, "attention": True}
        expected, found = model.translations(SOURCES, **asked), other.translations(SOURCES, **asked)
        for one, two in zip(expected, found, strict=True):
            assert [each.text for each in two] == [each.text for each in one]
            for first, second in zip(one, two, strict=True):
                assert second.log_probability == pytest.approx(first.log_probability, abs=1e-5)
                torch.testing.assert_close(second.attention, first.attention)


@pytest.mark.slow
def test_the_page_of_a_translation_runs_alone(folder, exported):
    model = unrolled.load(folder / "translation.ckpt")
    for source in SOURCES[:2]:
        said = run_page(exported("translation"), ('text = ""', f"text = {source!r}"))
        assert said == [model.translate(source, beam_size=1)]


@pytest.mark.slow
def test_a_caption_has_the_same_words(folder, exported):
    model, other = unrolled.load(folder / "caption.ckpt"), open_folder(exported("caption"))
    images = [folder / name for name in PICTURES]
    for settings in ({"beam_size": 1}, {"beam_size": 3, "num_hypotheses": 2}):
        asked = {**settings, "max_length": 4, "attention": True}
        for one, two in zip(
            model.captions(images, **asked), other.captions(images, **asked), strict=True
        ):
            assert [each.text for each in two] == [each.text for each in one]
            torch.testing.assert_close(two[0].attention, one[0].attention)
    for name in PICTURES[:2]:
        Image.open(folder / name).save(exported("caption") / "image.png")
        said = run_page(exported("caption"), ("image.jpg", "image.png"))
        assert said == [model.caption(folder / name, beam_size=1)]


@pytest.mark.slow
def test_where_a_caption_looked_is_drawn_as_of_the_checkpoint(folder, exported, tmp_path):
    """A graph has no layers of which to ask how a grid lies on the picture."""
    drawn, places = [], (folder / "caption.ckpt", exported("caption"))
    for place in places:
        target = tmp_path / place.name
        words = ["caption", str(place), str(folder / PICTURES[0]), "--attention", str(target)]
        assert main(words) == 0
        with Image.open(next(target.rglob("*.png"))) as picture:
            drawn.append(np.asarray(picture.convert("RGB")).astype(int))
    assert np.abs(drawn[0] - drawn[1]).max() <= 2
    assert shift_of(open_folder(places[1])) == shift_of(unrolled.load(places[0])) != 0


BACKBONES = {
    "small": partial(SmallCNN, [4, 8]),
    "torchvision": partial(TorchvisionBackbone, "mobilenet_v3_small", weights="none"),
    "timm": partial(TimmBackbone, "test_resnet", weights="none"),
}


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_video_of_pictures_has_the_same_labels(tmp_path, backbone):
    if backbone == "timm":
        pytest.importorskip("timm", reason="the extra `timm` is not installed")
    torch.manual_seed(0)
    spec = {"background": [], "feature_size": 0, "image_size": 64, "stride": 1}
    encoder = partial(FrameEncoder, BACKBONES[backbone], places=2, chunk=2)
    core = partial(GRU, hidden_size=6)
    model = VideoModel({**spec, "classes": ["x", "y"]}, core, encoder=encoder)
    out = tmp_path / "pictures"
    out.mkdir()
    frames = torch.randint(256, (9, 3, 64, 64), dtype=torch.uint8)
    expected = model.label(frames)
    write_folder(model, OnnxFiles(out))
    other = open_folder(out)
    for found in (other.label(frames), [*map(other.stream(), frames)]):
        assert [one.name for one in found] == [one.name for one in expected]
        assert [one.probability for one in found] == pytest.approx(
            [one.probability for one in expected], abs=1e-5
        )


@pytest.mark.slow
def test_a_video_has_the_same_labels(folder, exported):
    model, other = unrolled.load(folder / "video.ckpt"), open_folder(exported("video"))
    frames = np.load(folder / "a.npy").T.astype(np.float32)
    expected = model.label(frames)
    for found in (other.label(frames), [*map(other.stream(), frames)]):
        assert [one.name for one in found] == [one.name for one in expected]
        assert [one.probability for one in found] == pytest.approx(
            [one.probability for one in expected], abs=1e-5
        )
    np.save(exported("video") / "video.npy", frames)
    said = run_page(exported("video"))
    assert said == [f"{number} {one.name}" for number, one in enumerate(expected)]


@pytest.mark.slow
@pytest.mark.parametrize("both", [False, True])
def test_frames_of_several_labels_have_the_same(tmp_path, both):
    """With features that are normalised within the model, and thresholds of their own."""
    torch.manual_seed(0)
    spec = {"background": [], "feature_size": 3, "image_size": 0, "stride": 1}
    spec |= {"feature_mean": [1.0, 0.0, 2.0], "feature_deviation": [2.0, 1.0, 0.5]}
    core = partial(GRU, hidden_size=6)
    core = partial(Bidirectional, core=core) if both else core
    task = VideoLabelling({**spec, "classes": ["x", "y", "z"]}, core, multilabel=True)
    task.model.thresholds.copy_(torch.tensor([0.2, 0.5, 0.7]))
    save(task, tmp_path / "several.ckpt")
    model = unrolled.load(tmp_path / "several.ckpt")
    write_folder(model, OnnxFiles(tmp_path))
    frames = 3 * np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    other, expected = open_folder(tmp_path), model.label(frames)
    assert len({one.names for one in expected}) > 2
    streamed = [] if both else [[*map(other.stream(), frames)]]
    for found in (other.label(frames), *streamed):
        assert [one.names for one in found] == [one.names for one in expected]
        for one, two in zip(found, expected, strict=True):
            assert one.scores == pytest.approx(two.scores, abs=1e-5)
    np.save(tmp_path / "video.npy", frames)
    said = run_page(tmp_path)
    assert said == [f"{number} {one.name}" for number, one in enumerate(expected)]


@pytest.mark.slow
def test_a_video_read_both_ways_has_the_same_labels(folder):
    torch.manual_seed(0)
    spec = {"background": [], "feature_size": 3, "image_size": 0, "stride": 2}
    core = partial(Bidirectional, core=partial(GRU, hidden_size=6))
    save(VideoLabelling({**spec, "classes": ["x", "y"]}, core), folder / "both.ckpt")
    model, out = unrolled.load(folder / "both.ckpt"), folder / "both"
    out.mkdir()
    write_folder(model, OnnxFiles(out))
    frames = np.load(folder / "a.npy").T.astype(np.float32)
    assert [one.name for one in open_folder(out).label(frames)] == [
        one.name for one in model.label(frames)
    ]


WORDS = "to be or\nnot to be that is the question"
VOCABULARIES = {
    "bytes": ByteVocabulary(),
    "words": WordVocabulary(words_of(WORDS)),
    "subwords": SubwordVocabulary.train([WORDS] * 3, 262),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", VOCABULARIES)
def test_models_of_other_symbols_write_the_same(tmp_path, kind):
    """Prompts of several lengths, longer than what is read at once; and alone."""
    torch.manual_seed(0)
    vocabulary = VOCABULARIES[kind]
    save(
        CharLM({"vocabulary": vocabulary.to_spec()}, partial(GRU, hidden_size=6)),
        tmp_path / "lm.ckpt",
    )
    model = unrolled.load(tmp_path / "lm.ckpt")
    write_folder(model, OnnxFiles(tmp_path))
    other = open_folder(tmp_path)
    assert other.vocabulary.to_spec() == vocabulary.to_spec()
    prompts = ["", "to be or\nnot to", "that is " * 300]
    found, expected = (one.generate(prompts, length=9, seed=1) for one in (other, model))
    assert found == expected
    prompt = "to be" if kind == "words" else "é"
    said = run_page(tmp_path, ('= "", 200, 0.8', f"= {prompt!r}, 9, 0"))
    begun = prompt.encode() if kind == "bytes" else prompt
    written = begun + model.generate(begun, length=9, temperature=0)
    text = written.decode("utf-8", "replace") if kind == "bytes" else written
    assert "\n".join(said).rstrip() == "\n".join(text.splitlines()).rstrip()


@pytest.mark.parametrize(
    "name",
    ["lm", *(pytest.param(one, marks=pytest.mark.slow) for one in ("translation", "video"))],
)
def test_8_bits_agree_nearly(exported, tmp_path, name):
    """Weights and states of a model that is small and sharp are within some percent."""
    small = tmp_path / "small"
    shutil.copytree(exported(name), small)
    quantise(small)
    before, after = compared(exported(name), small)
    assert before.agreement == 1
    assert after.agreement > 0.9
    assert abs(after.nats - before.nats) < 0.1
    operators = {node.op_type for path in small.glob("*.onnx") for node in nodes_of(path)}
    assert "MatMulInteger" in operators
    assert "Gemm" not in operators


def nodes_of(path: Path):
    waiting = [onnx.load(path).graph]
    while waiting:
        for node in waiting.pop().node:
            yield node
            waiting += [one.g for one in node.attribute if one.type == onnx.AttributeProto.GRAPH]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lm", "generate @ --prompt a --temperature 0 --length 9"),
        ("lm", "generate @ --prompt a --seed 1 --num_samples 2 --length 9 --format jsonl"),
        ("lm", "score @ letters --format json"),
        ("lm", "score @ letters --by word --separate"),
        *(
            pytest.param(name, words, marks=pytest.mark.slow)
            for name, words in (
                ("translation", "translate @ text --max_length 6"),
                ("translation", "translate @ text --max_length 6 --nbest 2 --format tsv"),
                ("translation", "score @ text text --format csv"),
                ("caption", "caption @ a.png --max_length 4"),
                ("caption", "caption @ a.png bad.png b.png --max_length 4 --format json"),
                ("video", "label @ a.npy --stream"),
                ("video", "label @ a.npy bad.npy --format jsonl"),
            )
        ),
    ],
)
def test_a_folder_runs_in_the_commands(folder, exported, capsys, monkeypatch, name, words):
    monkeypatch.chdir(folder)
    Path("text").write_text("\n".join(SOURCES), encoding="utf-8")
    Path("letters").write_text("ab c\ncab\n", encoding="utf-8")
    said = []
    for place in (folder / f"{name}.ckpt", exported(name)):
        capsys.readouterr()
        code = main([word.replace("@", str(place)) for word in words.split()])
        assert code == (3 if "bad" in words else 0)
        said.append(capsys.readouterr().out)
    assert rounded(said[0]) == rounded(said[1]) != ""


def rounded(text: str) -> str:
    """Return a text with its fractions to four digits: 1e-5 is what graphs agree to."""
    return re.sub(r"-?\d+\.\d+(e-\d+)?", lambda found: f"{float(found[0]) + 0.0:.3f}", text)


def test_what_is_wrong_is_said_in_a_line(folder, exported, tmp_path, capsys):
    out = exported("lm")
    for words, code, part in (
        (["export", str(folder / "lm.ckpt"), "--out", str(out)], 2, "is there already"),
        (["generate", str(out), "--device", "cuda"], 2, "runs on the cpu"),
        (["translate", str(out), str(folder / "text")], 2, "does not translate"),
    ):
        assert main(words) == code
        assert part in capsys.readouterr().err
    bad = tmp_path / "bad"
    bad.mkdir()
    for content, part in (
        ("{", "is no JSON"),
        ("[]", "describes no exported model"),
        (json.dumps({"task": "char_lm"}), "lacks 'kind'"),
        (json.dumps({"task": "char_lm", "kind": "bytes"}), "can't be read"),
        (json.dumps({"task": "video", "spec": {}}), "lacks 'classes'"),
        (json.dumps({"task": ["char_lm"]}), "describes no exported model"),
    ):
        (bad / "model.json").write_text(content, encoding="utf-8")
        assert main(["generate", str(bad)]) == 3
        assert part in capsys.readouterr().err
    for name in ("model.json", "vocabulary.json", "start.json", "sequence.onnx"):
        (bad / name).write_bytes((out / name).read_bytes())
    (bad / "step.onnx").write_bytes((out / "step.onnx").read_bytes()[:100])
    assert main(["generate", str(bad)]) == 3
    assert "is no graph" in capsys.readouterr().err


@pytest.mark.parametrize("inside", [False, True])
def test_a_graph_that_reads_another_file_is_refused(
    exported, tmp_path, monkeypatch, capsys, inside
):
    """Relative to the folder of the command, where onnxruntime would look; also within a loop."""
    monkeypatch.chdir(tmp_path)
    Path("secret").write_bytes(bytes(64))
    shutil.copytree(exported("lm"), "bad")
    path = Path("bad/sequence.onnx" if inside else "bad/step.onnx")
    model = onnx.load(path)
    graph = model.graph
    if inside:
        (loop,) = (node for node in graph.node if node.op_type == "Scan")
        (graph,) = (one.g for one in loop.attribute if one.name == "body")
    tensor = onnx.TensorProto(name="w", dims=[16], data_type=onnx.TensorProto.FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "secret"), ("offset", "0"), ("length", "64")):
        tensor.external_data.add(key=key, value=value)
    graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())
    assert main(["generate", "bad"]) == 3
    assert "takes weights from other files" in capsys.readouterr().err
