"""Pages of exported models: what is in them, what is refused, and what their runtime is made of."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
import unrolled
from app_models import SPEC
from unrolled.apps.exports.web.page import check, write_page
from unrolled.apps.exports.web.runtime import Runtime, runtime_of
from unrolled.cli import main
from unrolled.core import GRU, Bidirectional, FrameEncoder, SmallCNN
from unrolled.data.vocabularies.subwords import SubwordVocabulary
from unrolled.errors import DataError, SetupError, UsageError
from unrolled.tasks import VideoModel
from unrolled.tasks.char_lm.model import CharModel

SCRIPT = "var a=1,b=2;export{a as Tensor,b as default,c};\n//# sourceMappingURL=x.mjs.map\n"
CORE = partial(GRU, hidden_size=4)


def package(path: Path, **changes: str | None) -> Path:
    """Write a package as npm does, with other files in the place of some."""
    files = {
        "package.json": '{"version": "1.2.3"}',
        "dist/ort.wasm.bundle.min.mjs": SCRIPT,
        "dist/ort-wasm-simd-threaded.wasm": "\0asm",
        **{name.replace("__", "/"): text for name, text in changes.items()},
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            if text is not None:
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_the_runtime_is_read_from_a_file_and_from_a_folder(tmp_path):
    file = package(tmp_path / "ort.tgz")
    with tarfile.open(file) as archive:
        archive.extractall(tmp_path, filter="data")
    for place in (file, tmp_path / "package"):
        found = runtime_of(str(place))
        assert found.version == "1.2.3"
        assert found.wasm == b"\0asm"
        last = "globalThis.ort = {Tensor: a, default: b, c: c};"
        assert found.script.splitlines() == ["var a=1,b=2;", last]


def test_what_is_not_the_package_is_told(tmp_path):
    with pytest.raises(UsageError, match="is not there: --runtime"):
        runtime_of(str(tmp_path / "none.tgz"))
    (tmp_path / "text.tgz").write_text("no archive")
    with pytest.raises(DataError, match="can't be read"):
        runtime_of(str(tmp_path / "text.tgz"))
    cut = package(tmp_path / "cut.tgz")
    cut.write_bytes(cut.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"can't be read|is not the npm package"):
        runtime_of(str(cut))
    with pytest.raises(DataError, match="is not the npm package"):
        runtime_of(str(tmp_path))
    for changes in (
        {"package.json": None},
        {"package.json": "[]"},
        {"package.json": '{"version": 3}'},
        {"dist/ort.wasm.bundle.min.mjs": "no module"},
        {"dist/ort-wasm-simd-threaded.wasm": None},
    ):
        with pytest.raises(DataError, match="is not the npm package"):
            runtime_of(str(package(tmp_path / "other.tgz", **changes)))


def npm(folder: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a command that is called `npm`, and the shell's own, where commands are looked for."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{does}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_npm_that_is_not_there_or_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"there is no npm\.\n.*--runtime"):
        runtime_of(None)
    npm(tmp_path / "fails", "echo 'no such host' >&2; exit 1", monkeypatch)
    with pytest.raises(SetupError, match=r"could not fetch .*\(no such host\)"):
        runtime_of(None)
    npm(tmp_path / "silent", "exit 0", monkeypatch)
    with pytest.raises(SetupError, match="could not fetch"):
        runtime_of(None)


def test_another_file_than_the_known_one_is_not_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    npm(tmp_path / "other", 'echo "$@"; echo evil > onnxruntime-web-1.30.0.tgz', monkeypatch)
    with pytest.raises(SetupError, match="another file: not used"):
        runtime_of(None)
    assert "fetching onnxruntime-web 1.30.0 with npm" in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*.tgz"))


def _subwords() -> CharModel:
    symbols = SubwordVocabulary.train(["a cat sat on a mat"] * 3, size=300).to_spec()
    return CharModel({"vocabulary": symbols}, CORE)


def _frames(core) -> VideoModel:
    encoder = partial(FrameEncoder, backbone=partial(SmallCNN, channels=[4]))
    return VideoModel(
        {**SPEC, "classes": ["x"], "feature_size": 0, "image_size": 8}, core, encoder=encoder
    )


def test_models_that_no_page_runs_are_refused_in_a_line(folder):
    both = partial(Bidirectional, core=CORE)
    for model, why in (
        (_subwords(), "subwords need a library"),
        (VideoModel({**SPEC, "classes": ["x"]}, CORE), "reads features"),
        (_frames(both), "this Bidirectional reads those to come"),
        (unrolled.load(folder / "translation.ckpt"), "not a TranslationModel"),
        (unrolled.load(folder / "caption.ckpt"), "not a CaptioningModel"),
    ):
        with pytest.raises(UsageError, match=f"A page .*{why}") as raised:
            check(model)
        assert "--format onnx" in str(raised.value)
    check(_frames(CORE))


def test_the_command_refuses_before_anything_is_fetched(folder, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    out = folder / "refused"
    for words, said in (
        ([str(folder / "translation.ckpt"), "--format", "web"], "not a TranslationModel"),
        ([str(folder / "lm.ckpt"), "--runtime", "x"], "--runtime is for --format web"),
        ([str(folder / "lm.ckpt"), "--format", "torch", "--int8", "true"], "--int8 is for"),
    ):
        assert main(["export", *words, "--out", str(out)]) == 2
        assert said in capsys.readouterr().err
        assert not out.exists()


class _Scripts(HTMLParser):
    """What a browser takes for scripts and styles, and all attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self._open = False

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._open = tag in ("script", "style")
        if self._open:
            self.found.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag):
        self._open = False

    def handle_data(self, data):
        if self._open:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)


def test_a_page_runs_its_own_scripts_only_and_shows_text_as_text(tmp_path):
    evil = "</script><script>alert(1)</script><!--\u2028é"
    settings = {"thresholds": None, "median": 1, "min_length": 1, "causal": True}
    spec = {"classes": [evil, "b"], "image_size": 8, "stride": 2}
    description = {
        "task": "video",
        "graphs": ["step"],
        "spec": spec,
        "settings": {**settings, "background": []},
    }
    (tmp_path / "model.json").write_text(json.dumps(description))
    (tmp_path / "start.json").write_text('{"state_h": [[[0.0, 1.0], [2.0, 3.0]]]}')
    (tmp_path / "step.onnx").write_bytes(b"graph")
    made = tmp_path / "page"
    made.mkdir()
    runtime = Runtime("1.2.3", 'var x = "</script><!--"\r\n', b"wasm")
    write_page(tmp_path, made, runtime, evil)
    text = (made / "index.html").read_text(encoding="utf-8")
    page = _Scripts()
    page.feed(text)
    styles = [text for tag, _, text in page.found if tag == "style"]
    data = {facts["id"]: text for _, facts, text in page.found if "id" in facts}
    modules = [text for _, facts, text in page.found if facts.get("type") == "module"]
    assert (len(page.found), len(styles), len(data), len(modules)) == (6, 1, 3, 2)
    (policy,) = [value for tag, name, value in page.attributes if "default-src" in (value or "")]
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'"
        for one in (*modules, *styles)
    ]
    assert policy.split("; ")[:3] == [
        "default-src 'none'",
        f"script-src {hashes[0]} {hashes[1]} 'wasm-unsafe-eval'",
        f"style-src {hashes[2]}",
    ]
    assert "unsafe-inline" not in policy
    assert "http" not in policy
    assert not [one for one in page.attributes if one[1] in ("src", "href", "style")]
    assert not [one for one in page.attributes if one[1].startswith("on")]
    said = json.loads(data["facts"])
    assert said["classes"] == [evil, "b"]
    assert said["start"] == {"state_h": {"shape": [1, 2, 2], "values": [0, 1, 2, 3]}}
    assert "Microsoft" in (made / "README.md").read_text(encoding="utf-8")
    # the same bytes each time
    again = tmp_path / "again"
    again.mkdir()
    write_page(tmp_path, again, runtime, evil)
    assert (again / "index.html").read_bytes() == (made / "index.html").read_bytes()
