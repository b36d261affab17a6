"""Make a report of runs: one HTML page with all there is to see, and a model card."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError, one_line, printable


def report(
    *runs: str,
    out: str = "report.html",
    card: bool = False,
    example: str = "",
    trust: str = "",
) -> None:
    """Put all there is to see of runs on one HTML page that needs no network.

    Configuration, data, curves, samples, pictures of the task, the scores of `unrolled test`, and
    how to reproduce it; several runs side by side.

    Args:
        *runs: Folders of runs, or checkpoints in them; the folder of a task stands for all runs in
            it.
        out: Where to write the page: a file whose name ends with .html.
        card: Also write a model card for each run, the README.md in its folder, as Hugging Face
            reads it.
        example: What the pictures shall be of: a text, a sentence, an image or a video, or the path
            of a file with one; otherwise they are of what the test or the model itself said.
        trust: Packages of your own, with commas in between, whose classes a checkpoint may name.
    """
    target = Path(out)
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out '{target}': a page's name ends with .html.")
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"--out '{target}': there is no folder '{target.parent}' for such a file.")

    from .pages.runs import read_runs

    found = read_runs(runs, trust)
    if card:
        from .pages.card import card_place

        places = [card_place(run.folder) for run in found]

    from .pages.page import page
    from .run.folder.disk import replacing, writing

    text = page(found, example)
    with writing(target), replacing(target) as file:
        file.write(text.encode())
    print(one_line(f"{target} ({len(text.encode()) // 1024:,} kB)"))
    if card:
        from .pages.card import model_card

        for run, place in zip(found, places, strict=True):
            with writing(place), replacing(place) as file:
                file.write(model_card(run).encode())
            print(one_line(place))
    for run in found:
        for line in dict.fromkeys(run.missing):
            print(f"{printable(run.name)}: {printable(line)}".replace("\n", " "))
