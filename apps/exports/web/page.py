"""One page that runs an exported model: all that it needs stands in it, and nothing is fetched."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

from ....checkpoints import EXPORTED
from ....errors import UsageError, a
from ....tasks.char_lm.model import CharModel
from ....tasks.model import Model
from ....tasks.video.model import VideoModel
from ...pages.html import Html, element, joined
from ...pictures.timeline import palette
from ..sessions import read_json
from .runtime import Runtime

_HERE = Path(__file__).parent
_SCRIPTS = {"char_lm": ("vocabularies.js", "language.js"), "video": ("pictures.js", "video.js")}
_TITLES = {"char_lm": "A model that writes", "video": "A model that labels video"}
_README = """# {title}

Exported by unrolled. `index.html` opens in any browser of 2023 or newer, by a double click as well
as from a server: the model, and what runs it, stand in the page. It asks nothing of the network,
and its content security policy lets it ask nothing.

The page contains onnxruntime-web {version}, Copyright (c) Microsoft Corporation, under the MIT
License (https://github.com/microsoft/onnxruntime/blob/main/LICENSE). Who passes the page on passes
that on as well.
"""


def check(model: Model) -> None:
    """Refuse a model that no page runs.

    Args:
        model: A trained model.

    Raises:
        UsageError: It names the reason, and what there is instead.
    """
    if isinstance(model, CharModel):
        if model.vocabulary.kind != "subwords":
            return
        why = "reads characters, bytes or words; subwords need a library that no browser has"
    elif not isinstance(model, VideoModel):
        why = f"runs char_lm and video, not {a(type(model))}"
    elif model.spec["feature_size"]:
        why = "labels pictures; this model reads features, which no camera gives"
    elif not model.causal:
        why = f"labels frames as they come; this {type(model.core).__name__} reads those to come"
    else:
        return
    raise UsageError(
        f"A page {why}.\n--format onnx exports such a model; `unrolled demo` shows it."
    )


def write_page(exported: Path, folder: Path, runtime: Runtime, about: str) -> None:
    """Write the page of an exported model.

    Args:
        exported: The folder of ONNX graphs that `write_folder` has written.
        folder: Where `index.html` and `README.md` go, an empty folder.
        runtime: What runs the graphs.
        about: What the model is, in a line.
    """
    description = read_json(exported / EXPORTED)
    task = description["task"]
    said = {
        "task": task,
        "start": {name: _flat(value) for name, value in read_json(exported / "start.json").items()},
    }
    if task == "char_lm":
        said["vocabulary"] = read_json(exported / "vocabulary.json")
    else:
        spec, settings = description["spec"], description["settings"]
        said |= {name: spec[name] for name in ("classes", "image_size", "stride")}
        said |= {name: settings[name] for name in ("thresholds", "median", "min_length")}
        colours = palette(spec["classes"], settings["background"])
        said["colours"] = [colours[name] for name in spec["classes"]]
    title = _TITLES[task]
    text = _page(title, about, said, (exported / "step.onnx").read_bytes(), runtime)
    (folder / "index.html").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(
        _README.format(title=title, version=runtime.version), encoding="utf-8"
    )


def _page(title: str, about: str, said: dict[str, Any], graph: bytes, runtime: Runtime) -> str:
    style = _file("page.css")
    own = "\n".join(map(_file, ("model.js", "walk.js", *_SCRIPTS[said["task"]])))
    scripts = [_within_html(runtime.script), _within_html(own)]
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))} 'wasm-unsafe-eval'",
            f"style-src {_hash(style)}",
            "img-src data: blob:",
            "media-src blob: mediastream:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    # `<` begins nothing within JSON
    facts = json.dumps(said, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{title} - unrolled"),
        element("style", Html(style)),
    ]
    body = [
        element("header", element("h1", title), element("p", about, class_="about")),
        element(
            "main",
            element("p", "Unpacking the model ...", id="status", role="status"),
            element("noscript", element("p", "The page needs JavaScript.", class_="problem")),
            element("div", Html(_file(f"{said['task']}.html")), id="all", hidden=True),
        ),
        element(
            "footer",
            f"All of it is computed in this page by onnxruntime-web {runtime.version} "
            "(Microsoft, MIT License); nothing leaves it.",
        ),
        element("script", Html(facts), type="application/json", id="facts"),
        element("script", Html(_packed(graph)), type="text/plain", id="graph"),
        element("script", Html(_packed(runtime.wasm)), type="text/plain", id="wasm"),
        *(element("script", Html(script), type="module") for script in scripts),
    ]
    page = element("html", element("head", head), element("body", body), lang="en")
    return joined((Html("<!doctype html>\n"), page))


def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _within_html(script: str) -> str:
    """Return a script that HTML reads whole: these two stand in its texts only."""
    script = script.replace("\r\n", "\n")  # as the browser takes it, whose hash has to agree
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _flat(value: Any) -> dict[str, Any]:
    """Return the tensor of nested lists by its shape and its numbers in a row."""
    shape, numbers = [], [value]
    while numbers and isinstance(numbers[0], list):
        shape.append(len(numbers[0]))
        numbers = [one for part in numbers for one in part]
    return {"shape": shape, "values": numbers}
