"""The page of an exported folder: what the files are, and some thirty lines that run them."""

from __future__ import annotations

from typing import Any

import torch

from . import onnx_code, torch_code

_HEAD = """# {title}

Exported by unrolled {version}. It runs with `pip install {packages}` and nothing else.

| file | what it is |
|---|---|
{files}

{note}
```python
{code}
```
{notes}"""

_SYMBOLS = """\
vocabulary = json.load(open("vocabulary.json", encoding="utf-8"))
symbols, never = vocabulary["symbols"], vocabulary["never_written"]
numbers = {symbol: number for number, symbol in enumerate(symbols)}"""
_KINDS = {  # of vocabularies: how it is read, a prompt's numbers, their text
    "characters": (
        _SYMBOLS,
        "[numbers[symbol] for symbol in prompt]",
        '"".join(symbols[number] for number in written)',
    ),
    "bytes": (
        _SYMBOLS,
        "[numbers[symbol] for symbol in prompt.encode()]",
        'bytes(symbols[number] for number in written).decode("utf-8", "replace")',
    ),
    "words": (
        "import re\n" + _SYMBOLS,
        '[numbers[word] for word in re.findall(r"\\n|\\S+", prompt)]',
        're.sub(" ?\\n ?", "\\n", " ".join(symbols[number] for number in written))',
    ),
    "subwords": (
        "from tokenizers import Tokenizer\n"
        'words, never = Tokenizer.from_file("vocabulary.json"), []',
        "[number + 1 for number in words.encode(prompt).ids]",
        "words.decode([number - 1 for number in written], skip_special_tokens=False)",
    ),
}

_FILES = {
    "step": "one step: a symbol or frame and the state in, logits and the state out",
    "sequence": "a whole sequence",
    "encoder": "reads the input once: the memory, and the state that the decoder begins with",
    "decoder": "one step of k hypotheses of each row",
    "start.json": "the state that a sequence begins with, one row",
    "vocabulary.json": "what the numbers stand for",
    "source.json": "the source's subwords, for `tokenizers`",
    "target.json": "the target's subwords, for `tokenizers`",
    "model.json": "what else the model knows, and its settings",
}


def readme(description: dict[str, Any], form: str) -> str:
    """Return the page of an exported folder, in Markdown.

    Args:
        description: What `model.json` says.
        form: What runs it: onnx or torch.
    """
    codes: Any = onnx_code if form == "onnx" else torch_code
    suffix = ".onnx" if form == "onnx" else ".pt2"
    task, spec = description["task"], description["spec"]
    files = [f"{name}{suffix}" for name in description["graphs"]]
    packages, notes = list(codes.PACKAGES), ""
    if task == "char_lm":
        files += ["start.json", "vocabulary.json"]
        vocabulary, prompt, text = _KINDS[description["kind"]]
        code = codes.TEXT.format(vocabulary=vocabulary, prompt=prompt, text=text)
        packages += ["tokenizers"] * (description["kind"] == "subwords")
    elif task == "translation":
        files += ["source.json", "target.json"]
        packages.append("tokenizers")
        code = codes.TRANSLATION.format(
            limit="2 * len(ids) + 10", text=_decoded("target"), memory=description["memory"]
        )
    elif task == "captioning":
        files.append("vocabulary.json")
        packages += ["numpy"] * ("numpy" not in packages) + ["tokenizers", "pillow"]
        limit = description["settings"]["max_length"]
        code = codes.CAPTIONING.format(
            side=spec["image_size"],
            limit=limit,
            text=_decoded("words"),
            memory=description["memory"],
        )
    else:
        frames = (codes.FEATURES if spec["feature_size"] else codes.PICTURES).format(
            size=spec["feature_size"], side=spec["image_size"], stride=spec["stride"]
        )
        settings = description["settings"]
        causal = settings["causal"]
        said = codes.ONE if settings["thresholds"] is None else codes.SEVERAL
        files += ["start.json"] if causal else []
        if causal:
            frames, _, comment = frames.partition("  #")
            code = codes.STREAM.format(frames=frames, said=said.format(row="[0]"))
            code = code.replace("):\n", f"):  #{comment}\n", 1)
        else:
            code = codes.VIDEO.format(frames=frames, said=said.format(row=""))
        notes = _notes(spec, settings)
        packages += ["numpy"] * ("numpy" not in packages)
    rows = [
        f"| `{name}` | {_FILES[name.removesuffix(suffix)]} |" for name in [*files, "model.json"]
    ]
    return _HEAD.format(
        title=f"A model of {task}",
        version=description["version"],
        packages=" ".join(packages),
        files="\n".join(rows),
        note=codes.NOTE.format(torch=torch.__version__.partition("+")[0]),
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
