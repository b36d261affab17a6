"""Let a language model write."""

from __future__ import annotations

import os
import sys
from typing import Any, Literal

from ..errors import DataError, UsageError
from .shell.models import model_file, open_model
from .shell.records import Format, Output


def generate(
    checkpoint: str,
    *,
    prompt: str = "",
    echo: bool = True,
    length: int = 500,
    stop: str | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    seed: int | None = None,
    num_samples: int = 1,
    unknown: Literal["error", "skip"] = "error",
    format: Format | None = None,
    out: str | None = None,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Let a language model write on from a prompt.

    Args:
        checkpoint: A checkpoint, or the folder of a run.
        prompt: The text to go on from; - reads it from standard input.
        echo: Print the prompt before what was written; false leaves it out.
        length: How many characters to write at most (bytes, words, subwords: the model's units).
        stop: End before the first place where the new text says this.
        temperature: Below 1 safer, above 1 wilder; 0 takes the most probable character each time.
        top_k: Keep only this many of the most probable characters.
        top_p: Keep only the most probable characters whose probabilities reach this sum.
        min_p: Keep only characters of at least this fraction of the most probable one's
            probability.
        seed: Makes the text repeatable.
        num_samples: How many texts to write; several are printed one after the other when all are
            done.
        unknown: What to do with a character of the prompt that the model never saw, error or skip.
        format: Write a record for each text when all are done; null: as the name of --out ends,
            .tsv, .csv, .json or .jsonl, else the texts as they come.
        out: The file to write; null is standard output.
        device: Where to run, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    if num_samples < 1:
        raise UsageError(f"--num_samples {num_samples}: must be at least 1.")
    path = model_file(checkpoint)
    output = Output(("sample", "prompt", "text"), format, out, [path])

    from ..data.tables import whole_text
    from ..tasks.char_lm.model import CharModel
    from ..tasks.char_lm.writing import as_text

    model = open_model(path, CharModel, "write text by itself", device=device, trust=trust)
    in_bytes = model.vocabulary.kind == "bytes"
    begun: Any = os.fsencode(prompt) if in_bytes else prompt
    if prompt == "-":
        read = sys.stdin.buffer.read()
        begun = read if in_bytes else whole_text([read], "standard input")
    pieces = model.generate_stream(
        [begun] * num_samples,
        length=length,
        stop=stop,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        seed=seed,
        unknown=unknown,
    )
    shown = begun if echo else begun[:0]
    texts = [begun[:0]] * num_samples
    record = {"prompt": as_text(begun)}
    with output:
        try:
            for number, added in enumerate(pieces):
                if num_samples > 1 or not output.lines:
                    texts = [text + piece for text, piece in zip(texts, added, strict=True)]
                    continue
                # the prompt only once it is known to be readable
                output.text((shown if number == 0 else shown[:0]) + added[0])
                output.flush()
        except DataError as error:
            if output.lines:
                raise
            for number in range(1, num_samples + 1):
                output.failed({"sample": number, **record}, error)
            output.finish(num_samples, "text(s)", "written")
        if not output.lines:
            for number, text in enumerate(texts, 1):
                output.put({"sample": number, **record, "text": as_text(text)})
        elif num_samples > 1:
            for number, text in enumerate(texts, 1):
                output.text(f"--- {number} ---\n")
                output.text(shown + text)
                output.text("\n")
        elif not in_bytes:  # bytes are written as they are, so that a file of them can be made
            output.text("\n")
