"""The code of a page that runs graphs with onnxruntime."""

from __future__ import annotations

PACKAGES = ["onnxruntime", "numpy"]
NOTE = """\
The state goes in as `state_...` and comes out as `next_...`, in one order. Every graph takes any
number of rows.
"""

_SESSION = """\
import json
import numpy as np
import onnxruntime
"""

TEXT = (
    _SESSION
    + """
step = onnxruntime.InferenceSession("step.onnx")
{vocabulary}
start = json.load(open("start.json", encoding="utf-8"))
state = {{name: np.array(value, np.float32) for name, value in start.items()}}
random = np.random.default_rng()
prompt, length, temperature = "", 200, 0.8


def read(number):
    global state
    *after, logits = step.run(None, {{"input": np.array([number]), **state}})
    state = dict(zip(state, after))
    logits[0, never] = -np.inf
    return logits[0]


logits = read(0)  # where a text begins
written = {prompt}
for number in written:
    logits = read(number)
for _ in range(length):
    number = int(np.argmax(logits + temperature * random.gumbel(size=logits.shape)))
    if number == 0:  # where it ends
        break
    written.append(number)
    logits = read(number)
print({text})"""
)

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

TRANSLATION = (
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

CAPTIONING = (
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

FEATURES = 'np.load("video.npy").astype(np.float32)  # (T, {size})'
PICTURES = (
    'np.load("video.npy")  # frames (T, 3, {side}, {side}) uint8, red, green, blue; one of {stride}'
)

STREAM = (
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

VIDEO = (
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
ONE = "    print(number, classes[logits{row}.argmax()])"
SEVERAL = """\
    there = 1 / (1 + np.exp(-logits{row})) >= model["settings"]["thresholds"]
    print(number, " + ".join(name for name, has in zip(classes, there) if has))"""
