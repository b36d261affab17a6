"""The page of an exported folder: what the files are, and some thirty lines that run them."""

from __future__ import annotations

from typing import Any

_HEAD = """# {title}

Exported by unrolled {version}. It runs with `pip install {packages}` and nothing else.

| file | what it is |
|---|---|
{files}

The state goes in as `state_...` and comes out as `next_...`, in one order. Every graph takes any
number of rows.

```python
{code}
```
{notes}"""

_SESSION = """\
import json
import numpy as np
import onnxruntime
"""

_TEXT = (
    _SESSION
    + """
step = onnxruntime.InferenceSession("step.onnx")
vocabulary = json.load(open("vocabulary.json", encoding="utf-8"))
symbols, end = vocabulary["symbols"], vocabulary["end"]
numbers = {{symbol: number for number, symbol in enumerate(symbols)}}
start = json.load(open("start.json", encoding="utf-8"))
state = {{name: np.array(value, np.float32) for name, value in start.items()}}
random = np.random.default_rng()
prompt, length, temperature = "", 200, 0.8


def read(number):
    global state
    *after, logits = step.run(None, {{"input": np.array([number]), **state}})
    state = dict(zip(state, after))
    logits[0, vocabulary["never_written"]] = -np.inf
    return logits[0]


logits = read(end)  # where a text begins
for symbol in {prompt}:
    logits = read(numbers[symbol])
written = []
for _ in range(length):
    number = int(np.argmax(logits + temperature * random.gumbel(size=logits.shape)))
    if number == end:
        break
    written.append(symbols[number])
    logits = read(number)
print(prompt + {text})"""
)

_READ_AND_WRITTEN = {  # a prompt's symbols, and the text of what was written
    "characters": ("prompt", '"".join(written)'),
    "bytes": ("prompt.encode()", 'bytes(written).decode("utf-8", "replace")'),
    "words": ("prompt.split()", '" ".join(written)'),
    "subwords": (
        'prompt.encode().decode("latin-1")',
        '"".join(written).encode("latin-1").decode("utf-8", "replace")',
    ),
}

_SEARCH = """\
state = {{name: value for name, value in found.items() if name.startswith("state")}}
memory = {{name: value for name, value in found.items() if name.startswith("memory")}}
tokens, written = np.array([[1]]), []  # 1 is the start, 2 the end
for _ in range({limit}):
    given = {{"tokens": tokens, **state, **memory}}
    said = dict(zip(after, decoder.run(None, given)))
    state = {{name: said[name.replace("state", "next", 1)] for name in state}}
    said["logits"][..., [0, 1, 3]] = -np.inf  # padding, start and unknown are never written
    tokens = said["logits"].argmax(-1)  # the most probable; a beam search keeps several: (1, k)
    if tokens[0, 0] == 2:
        break
    written.append(int(tokens[0, 0]))
print({text})"""

_BEGIN = """
encoder = onnxruntime.InferenceSession("encoder.onnx")
decoder = onnxruntime.InferenceSession("decoder.onnx")
after = [output.name for output in decoder.get_outputs()]
"""

_TRANSLATION = (
    _SESSION.replace("import json\n", "")
    + "from tokenizers import Tokenizer\n"
    + _BEGIN
    + """\
source, target = Tokenizer.from_file("source.json"), Tokenizer.from_file("target.json")
text = ""

ids = [*source.encode(text, add_special_tokens=False).ids, 2]
found = encoder.run(None, {{"tokens": np.array([ids]), "lengths": np.array([len(ids)])}})
found = dict(zip([output.name for output in encoder.get_outputs()], found))
"""
    + _SEARCH
)

_CAPTIONING = (
    _SESSION.replace("import json\n", "")
    + "from PIL import Image\nfrom tokenizers import Tokenizer\n"
    + _BEGIN
    + """\
words = Tokenizer.from_file("vocabulary.json")
image = Image.open("image.jpg").convert("RGB")

left, top = ((side - min(image.size)) / 2 for side in image.size)  # the middle square, scaled
box = (left, top, left + min(image.size), top + min(image.size))
picture = image.resize(({side}, {side}), Image.Resampling.BILINEAR, box=box)
pixels = np.asarray(picture).transpose(2, 0, 1)[None]  # (1, 3, {side}, {side}) uint8
found = encoder.run(None, {{"images": pixels}})
found = dict(zip([output.name for output in encoder.get_outputs()], found))
"""
    + _SEARCH
)

_FEATURES = 'np.load("video.npy").astype(np.float32)  # (T, {size})'
_PICTURES = (
    'np.load("video.npy")  # frames (T, 3, {side}, {side}) uint8, red, green, blue; one of {stride}'
)

_STREAM = (
    _SESSION
    + """
step = onnxruntime.InferenceSession("step.onnx")
model = json.load(open("model.json", encoding="utf-8"))
classes = model["spec"]["classes"]
start = json.load(open("start.json", encoding="utf-8"))
state = {{name: np.array(value, np.float32) for name, value in start.items()}}

for number, frame in enumerate({frames}):
    *after, logits = step.run(None, {{"input": frame[None], **state}})
    state = dict(zip(state, after))
{said}"""
)

_VIDEO = (
    _SESSION
    + """
sequence = onnxruntime.InferenceSession("sequence.onnx")
model = json.load(open("model.json", encoding="utf-8"))
classes = model["spec"]["classes"]
frames = {frames}
(logits,) = sequence.run(None, {{"input": frames[None], "lengths": np.array([len(frames)])}})
for number, logits in enumerate(logits[0]):
{said}"""
)
_ONE = "    print(number, classes[logits{row}.argmax()])"
_SEVERAL = """\
    there = 1 / (1 + np.exp(-logits{row})) >= model["settings"]["thresholds"]
    print(number, " + ".join(name for name, has in zip(classes, there) if has))"""

_FILES = {
    "step.onnx": "one step: a symbol or frame and the state in, logits and the state out",
    "sequence.onnx": "a whole sequence",
    "encoder.onnx": "reads the input once: the memory, and the state that the decoder begins with",
    "decoder.onnx": "one step of k hypotheses of each row",
    "start.json": "the state that a sequence begins with, one row",
    "vocabulary.json": "what the numbers stand for",
    "source.json": "the source's subwords, for `tokenizers`",
    "target.json": "the target's subwords, for `tokenizers`",
    "model.json": "what else the model knows, and its settings",
}


def readme(description: dict[str, Any]) -> str:
    """Return the page of an exported folder, in Markdown.

    Args:
        description: What `model.json` says.
    """
    task, spec = description["task"], description["spec"]
    files = [f"{name}.onnx" for name in description["graphs"]]
    packages, notes = ["onnxruntime", "numpy"], ""
    if task == "char_lm":
        files += ["start.json", "vocabulary.json"]
        prompt, text = _READ_AND_WRITTEN[description["kind"]]
        code = _TEXT.format(prompt=prompt, text=text)
    elif task == "translation":
        files += ["source.json", "target.json"]
        packages.append("tokenizers")
        code = _TRANSLATION.format(limit="2 * len(ids) + 10", text=_decoded("target"))
    elif task == "captioning":
        files.append("vocabulary.json")
        packages += ["tokenizers", "pillow"]
        limit = description["settings"]["max_length"]
        code = _CAPTIONING.format(side=spec["image_size"], limit=limit, text=_decoded("words"))
    else:
        frames = (_FEATURES if spec["feature_size"] else _PICTURES).format(
            size=spec["feature_size"], side=spec["image_size"], stride=spec["stride"]
        )
        settings = description["settings"]
        causal = settings["causal"]
        said = _ONE if settings["thresholds"] is None else _SEVERAL
        files += ["start.json"] if causal else []
        if causal:
            frames, _, comment = frames.partition("  #")
            code = _STREAM.format(frames=frames, said=said.format(row="[0]"))
            code = code.replace("):\n", f"):  #{comment}\n", 1)
        else:
            code = _VIDEO.format(frames=frames, said=said.format(row=""))
        notes = _notes(spec, settings)
    rows = [f"| `{name}` | {_FILES[name]} |" for name in [*files, "model.json"]]
    return _HEAD.format(
        title=f"A model of {task}",
        version=description["version"],
        packages=" ".join(packages),
        files="\n".join(rows),
        code=code,
        notes=notes,
    )


def _notes(spec: dict[str, Any], settings: dict[str, Any]) -> str:
    """Return what `unrolled label` does besides, of which the settings are in the description."""
    notes = []
    if spec.get("pose") is not None:
        notes.append(
            "\nThe features are made of poses: x and y of each part around the body's middle, in "
            "body lengths;\nthen the middle's step and the body's length. `pose` in `model.json` "
            "has the settings.\n"
        )
    if settings["median"] > 1 or settings["min_length"] > 1:
        notes.append(
            "\nThese are each frame's own labels. `unrolled label` smooths them: `median` and "
            "`min_length` in\n`model.json`.\n"
        )
    return "".join(notes)


def _decoded(name: str) -> str:
    """Return code that makes text of what was written."""
    return f"{name}.decode(written, skip_special_tokens=False).strip()"
