"""A model card of a run, as Hugging Face reads it: https://huggingface.co/docs/hub/model-cards.

What is not known is not made up: whose licence it has, and what it is good for, people add.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ...errors import UsageError, printable, quoted
from ..info import describe
from .page import commands, number, quoted_word
from .runs import RunSummary
from .samples import sources, written

NAME = "README.md"
MARK = "<!-- made by `unrolled report --card`: without this line the card is yours, and is kept -->"
_READ = 1 << 16  # bytes of a card in which the mark is looked for
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")
_KINDS = {  # by the task's class: what Hugging Face calls it, how it is used from shell and Python
    "CharLM": (
        "text-generation",
        "generate",
        '--prompt "..."',
        'print(model.generate("", length=200))',
    ),
    "Translation": ("translation", "translate", "FILE", 'print(model.translate("..."))'),
    "Captioning": ("image-to-text", "caption", "IMAGE...", 'print(model.caption("image.jpg"))'),
    "VideoLabelling": ("video-classification", "label", "VIDEO...", "print(model.label(frames))"),
}
_LANGUAGE = re.compile(r"[a-z]{2,3}")


def card_place(folder: Path) -> Path:
    """Return where the card of a run goes.

    Args:
        folder: The run's folder.

    Raises:
        UsageError: There is a card that somebody else has written, or has changed.
    """
    place = folder / NAME
    if place.is_symlink() or place.exists():
        try:
            with place.open("rb") as file:
                ours = MARK.encode() in file.read(_READ)
        except OSError:
            ours = False
        if not ours:
            raise UsageError(
                f"'{place}' was not made by `unrolled report --card`, or has lost the line that "
                "says so: move it first."
            )
    return place


def model_card(run: RunSummary, place: str = "") -> str:
    """Return the model card of a run: YAML, then Markdown.

    Args:
        run: The run.
        place: Where the model will be found without its run, a folder or hf://NAME; empty: in it.
    """
    front = yaml.safe_dump(metadata(run), sort_keys=False, allow_unicode=True, width=100)
    mark = "" if place else f"{MARK}\n"
    return f"---\n{front}---\n{mark}\n" + "\n".join(_body(run, place))


def metadata(run: RunSummary) -> dict[str, Any]:
    """Return what machines read of a card.

    Args:
        run: The run.
    """
    kind = _KINDS.get(run.task, ("",))[0]
    data = run.settings.get("data.init_args.dataset", "null")
    named = data if data not in ("null", "") else run.data
    languages = [run.settings.get(f"data.init_args.{side}", "") for side in ("source", "target")]
    known: dict[str, Any] = {
        "library_name": "unrolled",
        "tags": ["recurrent-neural-network", "pytorch", "lightning", *_cores(run)],
    }
    if kind:
        known["pipeline_tag"] = kind
    if languages := [one for one in languages if _LANGUAGE.fullmatch(one)]:
        known["language"] = languages
    scores = run.tested.scores if run.tested else {}
    finite = {name.removeprefix("test/"): v for name, v in scores.items() if v is not None}
    if finite and kind:
        known["metrics"] = list(finite)
        results = {
            "task": {"type": kind},
            "dataset": {"name": named or "unknown", "type": named or "unknown", "split": "test"},
            "metrics": [{"type": name, "value": round(v, 6)} for name, v in finite.items()],
        }
        known["model-index"] = [{"name": run.name, "results": [results]}]
    return known


def _cores(run: RunSummary) -> list[str]:
    names = [
        value.rpartition(".")[2].lower()
        for name, value in run.settings.items()
        if name.startswith("model.") and name.endswith("class_path") and ".core." in value
    ]
    return [name for name in dict.fromkeys(names) if name.isidentifier()]


def _body(run: RunSummary, place: str) -> Iterator[str]:
    yield f"# {escaped(place.rpartition('/')[2] or run.name)}\n"
    said = dict(describe(run.checkpoint)) if run.checkpoint else {}
    what = f"A model of the task {escaped(run.task)}" if run.task else "A model"
    yield f"{what}, trained with `unrolled`.\n"
    rows = [
        (name.removeprefix("spec."), value)
        for name, value in said.items()
        if name not in ("optimizer", "lr_scheduler", "metrics") and value != "None"
    ]
    if rows:
        yield "## Model\n"
        yield from _table(("", ""), rows)
    if run.data:
        yield f"## Data\n\n{escaped(run.data)}{'' if place else ', see `config.yaml`'}.\n"
    if run.tested:
        yield "## Scores\n"
        yield from _table(
            ("metric", "test"), [(n, number(v)) for n, v in run.tested.scores.items()]
        )
        for signature in run.tested.signatures.values():
            yield f"{escaped(signature)}\n"
    else:
        yield "## Scores\n\nThe model was not tested.\n"
    if kind := _KINDS.get(run.task):
        yield "## Use\n"
        yield from fenced(f"unrolled {kind[1]} {quoted_word(place or '.')} {kind[2]}", "sh")
        if place:
            quoted_place = json.dumps(place, ensure_ascii=False)
            use = f"import unrolled\n\nmodel = unrolled.load({quoted_place})\n{kind[3]}"
            yield from fenced(use, "python")
        yield "What is in the checkpoint is read as data; nothing of it is executed.\n"
    for how, texts in written(run)[-1:]:
        yield f"## Sample ({how})\n"
        for text in texts:
            yield from fenced(text)
    for sentence in sources(run, 1):
        yield "## First sentence of the test\n"
        yield from fenced(sentence)
    if not place:  # the run's own folder says how
        yield "## How to reproduce it\n"
        yield from fenced("\n".join(commands(run)), "sh")
    yield "## Intended uses, limits, licence\n"
    yield "To be written by who trained it: add `license:` to the lines at the top as well.\n"


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> Iterator[str]:
    yield f"| {head[0]} | {head[1]} |\n|---|---|"
    yield from (f"| {escaped(name)} | {escaped(quoted(value, 300))} |" for name, value in rows)
    yield ""


def escaped(text: str) -> str:
    """Return text as Markdown that shows it as it is, in one line.

    Args:
        text: Any text.
    """
    return _SPECIAL.sub(r"\\\1", printable(text).replace("\n", " ")).replace("\\<", "&lt;")


def fenced(text: str, language: str = "") -> Iterator[str]:
    """Yield text as a block that nothing in it ends.

    Args:
        text: Any text.
        language: What it is written in.
    """
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = "\t".join(map(printable, text.split("\t")))
    yield f"{fence}{language}\n{shown}\n{fence}\n"
