"""The tab of a language model: it writes on as one types, and shows how likely each character was.

Shapes: T characters, U units.
"""

from __future__ import annotations

import codecs
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unicodedata import combining

import gradio as gr
import numpy as np
import torch

from ...errors import UnrolledError
from ..pages.html import Html, element, joined
from ..pictures.fonts import visible
from ..plots.neurons import deviations
from .limits import TEXT, WRITTEN, problem, within
from .parts import bars, word
from .reading import Guess, Seen, TextReading
from .sessions import Sessions

if TYPE_CHECKING:
    from ...tasks.char_lm.model import CharModel

_BITS = 12.0  # the end of the scale
_PAUSE = 0.03  # seconds from one character that is written to the next
_REDRAWN = 0.3  # seconds from one picture of a neuron to the next while the model writes
_BEGIN = element(
    "div",
    element("span", "Move over a character, or walk with the arrow keys.", class_="hint"),
    class_="letters",
    role="group",
    tabindex="0",
    aria_label="The text by how unlikely each character was. Walk with the arrow keys.",
    dir="auto",
).removesuffix("</div>")  # so that what is written later can be added at the end


class _Session:
    """What a visitor's text is read with; the newest of his keys counts.

    Args:
        model: The model.
    """

    def __init__(self, model: CharModel) -> None:
        self.reading = TextReading(model)
        self.turn = threading.Lock()
        self.newer = threading.Condition()
        self.newest = 0
        self.unit = 0  # the neuron that is shown, which may change while the model writes

    def begin(self) -> int:
        """Return the number of a key, and let those before it end."""
        with self.newer:
            self.newest += 1
            self.newer.notify_all()
            return self.newest

    def over(self, number: int, pause: float = 0.0) -> bool:
        """Wait, and say whether there is a newer key.

        Args:
            number: That of the own key.
            pause: Seconds to wait at most.
        """
        with self.newer:
            return self.newer.wait_for(lambda: self.newest > number, pause)


def tab(model: CharModel, queue_id: str) -> None:
    """Lay out the tab of a language model, in the tab that is open.

    Args:
        model: The model.
        queue_id: What its requests wait for together.
    """
    sessions = Sessions(lambda: _Session(model))
    units = len(sessions.make().reading.unit_names)
    text = gr.Textbox(
        label="Text",
        info=f"The model goes on from it at each key. At most {TEXT:,} characters.",
        lines=3,
        max_lines=8,
        max_length=TEXT,
        autofocus=True,
        elem_classes="typed",
    )
    with gr.Row():
        temperature = gr.Slider(
            0, 2, 0.8, step=0.05, label="Temperature", info="0: the likeliest character each time."
        )
        length = gr.Slider(0, WRITTEN, 120, step=10, label="Characters to write")
        unit = gr.Slider(
            0, max(units - 1, 1), 0, step=1, label="Neuron", visible=units > 1, elem_classes="unit"
        )
    again = gr.Button("Write again", elem_classes="again")
    said = gr.HTML(elem_classes="messages", apply_default_css=False)
    following = gr.HTML(elem_classes="following", apply_default_css=False)
    letters = gr.HTML(elem_classes="surprise", apply_default_css=False)
    neuron = gr.HTML(elem_classes="neuron", apply_default_css=False)
    shown = [said, following, letters, neuron]

    def write(
        typed: str, temperature: float, length: float, unit: float, request: gr.Request
    ) -> Iterator[Any]:
        session = sessions[str(request.session_hash)]
        session.unit = int(unit)
        number = session.begin()
        with session.turn:
            if session.over(number):
                return
            try:
                within(typed)
                settings = {"temperature": float(temperature), "length": min(int(length), WRITTEN)}
                yield from _written(model, session, number, typed, settings)
            except (UnrolledError, ValueError) as error:
                yield problem(error), "", "", ""

    def recolour(unit: float, request: gr.Request) -> Any:
        session = sessions[str(request.session_hash)]
        session.unit = int(unit)
        return coloured(list(session.reading.seen), session.reading.unit_names, session.unit)

    asked = {
        "fn": write,
        "inputs": [text, temperature, length, unit],
        "outputs": shown,
        "show_progress": "hidden",
        "trigger_mode": "multiple",  # the newest key counts, so each has to come
        "concurrency_limit": 8,
        "concurrency_id": queue_id,
    }
    text.input(**asked)
    again.click(**asked)
    temperature.release(**asked)
    length.release(**asked)
    if units:
        unit.input(recolour, unit, neuron, show_progress="hidden", trigger_mode="always_last")


def _written(
    model: CharModel, session: _Session, key: int, text: str, settings: Any
) -> Iterator[Any]:
    """Yield what is shown after a key: first the text, then what the model writes."""
    reading = session.reading
    reading.read(text)
    typed, following, first, drawn = len(text), _following(reading.next, text), True, 0.0
    letters = [letter(one) for one in reading.seen]
    pieces = _pieces(model, text, settings)
    added: str | None = next(pieces, "")  # with the text: it is there as early as can be
    while added is not None:
        text += added
        reading.read(text)
        letters = letters[: reading.same]  # a word or subword may have got another end
        place = sum(len(one.symbol.text) for one in reading.seen[: len(letters)])
        for one in reading.seen[len(letters) :]:
            letters.append(letter(one, written=place >= typed))
            place += len(one.symbol.text)
        late = not first and time.monotonic() - drawn > _REDRAWN
        yield (
            "" if first else gr.skip(),
            following if first else gr.skip(),
            _BEGIN + "".join(letters),
            coloured(reading.seen, reading.unit_names, session.unit) if late else gr.skip(),
        )
        drawn, first = time.monotonic() if late else drawn, False
        if session.over(key, _PAUSE):
            return
        added = next(pieces, None)
    yield gr.skip(), gr.skip(), gr.skip(), coloured(reading.seen, reading.unit_names, session.unit)


def _pieces(model: CharModel, text: str, settings: Any) -> Iterator[str]:
    """Yield what the model writes, as text."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    in_bytes = model.vocabulary.kind == "bytes"
    for (piece,) in model.generate_stream([text.encode() if in_bytes else text], **settings):
        yield decoder.decode(piece) if isinstance(piece, bytes) else piece


def letter(seen: Seen, *, written: bool = False) -> Html:
    """Return a character, word or subword on a ground that says how unlikely it was.

    Args:
        seen: The symbol.
        written: Whether the model wrote it.
    """
    said = f"{_sign(seen.symbol.text)} had {seen.bits:.1f} bits. In its place were likeliest:"
    depth = 0.75 * min(max(seen.bits / _BITS, 0.0), 1.0)
    return word(
        _shown(seen.symbol.text),
        [element("span", said, class_="role"), _bars(seen.guesses)],
        shade=f"rgba(var(--odd),{depth:.2f})",
        kind="written" if written else "",
    )


def coloured(seen: list[Seen], names: list[str], unit: int) -> Html | str:
    """Return a text coloured by a unit, as `unrolled plot neurons` scales it.

    Args:
        seen: The text.
        names: What the units are called.
        unit: The number of the unit.
    """
    if not seen or not names:
        return ""
    unit = min(max(unit, 0), len(names) - 1)
    values = torch.stack([one.units for one in seen]).double().numpy()[:, unit : unit + 1]  # (T, 1)
    scaled = deviations(np.asarray(values))[:, 0]
    return joined(
        [
            element("p", f"Unit {unit}: {names[unit]}", class_="quiet"),
            element(
                "div",
                [
                    element("span", _shown(one.symbol.text), style=f"background:{_ground(value)}")
                    for one, value in zip(seen, scaled, strict=True)
                ],
                class_="letters plain",
                dir="auto",
            ),
            element("p", "Purple: below its mean over this text. Orange: above.", class_="quiet"),
        ]
    )


def _ground(value: float) -> str:
    return f"rgba(var(--{'low' if value < 0 else 'high'}),{0.75 * abs(value):.2f})"


def _following(guesses: list[Guess], text: str) -> Html:
    said = "After this text are likeliest:" if text else "At a text's beginning are likeliest:"
    return element("div", element("span", said, class_="role"), _bars(guesses))


def _bars(guesses: list[Guess]) -> Html:
    return bars((_sign(one.symbol), one.probability) for one in guesses)


def _sign(symbol: str) -> str:
    return visible(symbol).replace(" ", "␣")


def _shown(symbol: str) -> str:
    """Return a symbol as it stands in the text: an end of a line can be seen, and ends it."""
    return "".join(
        "↵\n" if one == "\n" else one if one.isspace() or combining(one) else visible(one)
        for one in symbol
    )
