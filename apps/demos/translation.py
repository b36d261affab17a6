"""The tab of a translation model: each word says which words of the source it looked at.

Shapes: S subwords of the source, T of the translation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ...errors import DataError, UnrolledError
from ..pages.html import Html, element, joined, table
from .limits import TEXT, problem, within
from .parts import apart, shaded, walk

if TYPE_CHECKING:
    from ...tasks.translation.model import Translated, TranslationModel

_LINES = 8
_BEAM = 10
_LARGEST = 40  # subwords of either side that are shown as a table


def tab(model: TranslationModel, queue_id: str) -> None:
    """Lay out the tab of a translation model, in the tab that is open.

    Args:
        model: The model.
        queue_id: What its requests wait for together.
    """
    source = gr.Textbox(
        label="Source",
        info=f"A sentence a line: at most {_LINES}, and {TEXT:,} characters. Or press Shift-Enter.",
        lines=2,
        max_lines=_LINES,
        max_length=TEXT,
        elem_classes="source",
    )
    beam = gr.Slider(1, _BEAM, min(model.beam_size, _BEAM), step=1, label="Beam size")
    button = gr.Button("Translate", variant="primary", elem_classes="translate")
    shown = gr.HTML(elem_classes="translation", apply_default_css=False)

    def translate(text: str, beam: float) -> Any:
        try:
            return translations(model, text, min(max(int(beam), 1), _BEAM))
        except (UnrolledError, ValueError) as error:
            return problem(error)

    for event in (source.submit, button.click):
        event(
            translate,
            [source, beam],
            shown,
            show_progress="minimal",
            concurrency_limit=1,
            concurrency_id=queue_id,
        )


def translations(model: TranslationModel, text: str, beam_size: int) -> Html:
    """Return the translations of the lines of a text.

    Args:
        model: The model.
        text: The text.
        beam_size: Hypotheses to keep.

    Raises:
        DataError: There is nothing to translate, or too much.
    """
    sentences = [line for line in within(text).splitlines() if line.strip()]
    if not sentences:
        raise DataError("There is nothing to translate: write a sentence.")
    if len(sentences) > _LINES:
        raise DataError(f"There are {len(sentences)} sentences; at most {_LINES} are read here.")
    found = model.translations(
        sentences, beam_size=beam_size, attention=model.decoder.attention is not None
    )
    return joined(aligned(best[0]) for best in found)


def aligned(found: Translated) -> Html:
    """Return a translation and its source, each word with what it looked at, or was looked at by.

    Args:
        found: The translation.
    """
    if found.attention is None or not found.text:
        note = "" if found.text else "The model says nothing to this."
        note = note or "The model was made without attention: there is no alignment."
        return element(
            "div",
            element("p", found.text, class_="said-plain", dir="auto"),
            element("p", note, class_="quiet"),
        )
    target = _read([one for one in found.target if one != "</s>"])
    source = _read([*found.source[:-1], " (end)"])
    weights = found.attention[: len(target)].float().clamp(0, 1)  # (T, S)
    down, across = weights.tolist(), weights.t().tolist()
    upper = [
        apart(text, [_sentence(text, row, source), shaded(source, row, _most(row))])
        for text, row in zip(target, down, strict=True)
    ]
    lower = [
        apart(text, [_sentence(text, row, target, passive=True), shaded(target, row, _most(row))])
        for text, row in zip(source, across, strict=True)
    ]
    hint = "Move over a word, or walk with the arrow keys, to see what looked at what."
    return element(
        "div",
        element("span", "Translation", class_="role"),
        walk(upper, label=f"Translation: {found.text}", kind="target"),
        element("span", "Source", class_="role"),
        walk(lower, label="Source", kind="origin"),
        element("span", hint, class_="hint"),
        element("details", element("summary", "All weights"), _weights(source, target, down))
        if max(len(source), len(target)) <= _LARGEST
        else None,
        class_="pair",
    )


def _read(subwords: list[str]) -> list[str]:
    """Return subwords as they stand in a sentence."""
    return [one.replace("▁", " ") for one in subwords]


def _most(row: list[float]) -> int:
    return max(range(len(row)), key=row.__getitem__)


def _sentence(text: str, row: list[float], others: list[str], *, passive: bool = False) -> Html:
    most = _most(row)
    verb = "was looked at most by" if passive else "looked most at"
    said = f"“{text.strip()}” {verb} “{others[most].strip()}”, {100 * row[most]:.0f} %:"
    return element("span", said, class_="role")


def _weights(source: list[str], target: list[str], rows: list[list[float]]) -> Html:
    cells = [
        [
            text.strip(),
            *(
                element(
                    "span",
                    f"{100 * share:.0f}" if share >= 0.005 else "",
                    style=f"background:rgba(var(--mark),{0.8 * share:.2f})",
                )
                for share in row
            ),
        ]
        for text, row in zip(target, rows, strict=True)
    ]
    return table(["in %", *(text.strip() for text in source)], cells)
