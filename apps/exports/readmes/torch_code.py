"""The code of a page that runs programs of `torch.export`."""

from __future__ import annotations

PACKAGES = ["torch"]
NOTE = """\
A program takes the tensors of the state as a list, and returns them so, in the order of
`start.json`. It takes any number of rows, all of one length. Programs are read with pickle: run
those of strangers as you would run their code. They were made with torch {torch}; older ones
may not read them.
"""

_BEGIN = """\
import json
import torch

torch.set_grad_enabled(False)
"""

TEXT = (
    _BEGIN
    + """
step = torch.export.load("step.pt2").module()
{vocabulary}
start = json.load(open("start.json", encoding="utf-8"))
state = [torch.tensor(value) for value in start.values()]
prompt, length, temperature = "", 200, 0.8


def read(number):
    global state
    state, logits = step(state, torch.tensor([number]))
    logits[0, never] = -torch.inf
    return logits[0]


logits = read(0)  # where a text begins
written = {prompt}
for number in written:
    logits = read(number)
for _ in range(length):
    noise = -torch.empty_like(logits).exponential_().log()  # Gumbel's
    number = int((logits + temperature * noise).argmax())
    if number == 0:  # where it ends
        break
    written.append(number)
    logits = read(number)
print({text})"""
)

_SEARCH = """\
memory, state = found[:{memory}], found[{memory}:]
tokens, written = torch.tensor([[1]]), []  # 1 is the start, 2 the end
for _ in range({limit}):
    state, logits, *_ = decoder(state, tokens, memory)
    logits[..., [0, 1, 3]] = -torch.inf  # padding, start and unknown are never written
    tokens = logits.argmax(-1)  # the most probable; a beam search keeps several: (1, k)
    if tokens[0, 0] == 2:
        break
    written.append(int(tokens[0, 0]))
print({text})"""

_PARTS = """
encoder = torch.export.load("encoder.pt2").module()
decoder = torch.export.load("decoder.pt2").module()
"""

TRANSLATION = (
    "import torch\nfrom tokenizers import Tokenizer\n\ntorch.set_grad_enabled(False)"
    + _PARTS
    + """\
source, target = Tokenizer.from_file("source.json"), Tokenizer.from_file("target.json")
text = ""

ids = [*source.encode(text, add_special_tokens=False).ids, 2]
found = encoder(torch.tensor([ids]))
"""
    + _SEARCH
)

CAPTIONING = (
    "import numpy as np\nimport torch\nfrom PIL import Image\nfrom tokenizers import Tokenizer\n\n"
    "torch.set_grad_enabled(False)"
    + _PARTS
    + """\
words = Tokenizer.from_file("vocabulary.json")
image = Image.open("image.jpg").convert("RGB")

left, top = ((side - min(image.size)) / 2 for side in image.size)  # the middle square, scaled
box = (left, top, left + min(image.size), top + min(image.size))
picture = image.resize(({side}, {side}), Image.Resampling.BILINEAR, box=box)
pixels = torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None]  # (1, 3, {side}, {side}) uint8
found = encoder(pixels)
"""
    + _SEARCH
)

_LOADED = 'torch.from_numpy(np.load("video.npy"))'
FEATURES = _LOADED + ".float()  # (T, {size})"
PICTURES = _LOADED + "  # frames (T, 3, {side}, {side}) uint8, red, green, blue; one of {stride}"

STREAM = (
    "import json\nimport numpy as np\nimport torch\n\ntorch.set_grad_enabled(False)"
    + """
step = torch.export.load("step.pt2").module()
model = json.load(open("model.json", encoding="utf-8"))
classes = model["spec"]["classes"]
start = json.load(open("start.json", encoding="utf-8"))
state = [torch.tensor(value) for value in start.values()]

for number, frame in enumerate({frames}):
    state, logits = step(state, frame[None])
{said}"""
)

VIDEO = (
    "import json\nimport numpy as np\nimport torch\n\ntorch.set_grad_enabled(False)"
    + """
sequence = torch.export.load("sequence.pt2").module()
model = json.load(open("model.json", encoding="utf-8"))
classes = model["spec"]["classes"]
frames = {frames}
_, logits = sequence([], frames[None])
for number, logits in enumerate(logits[0]):
{said}"""
)
ONE = "    print(number, classes[logits{row}.argmax()])"
SEVERAL = """\
    there = logits{row}.sigmoid() >= torch.tensor(model["settings"]["thresholds"])
    print(number, " + ".join(name for name, has in zip(classes, there) if has))"""
