"""The page: a tab for each model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ...errors import UsageError, a
from ...tasks.captioning.model import CaptioningModel
from ...tasks.char_lm.model import CharModel
from ...tasks.translation.model import TranslationModel
from ...tasks.video.model import VideoModel
from ..pages.html import element
from ..shell.models import summary

if TYPE_CHECKING:
    from ...tasks.model import Model

_FORGOTTEN = (60, 600)  # every minute what was uploaded ten minutes ago and used by nobody
_TABS: dict[type[Model], tuple[str, str]] = {
    CharModel: ("language", "Text"),
    TranslationModel: ("translation", "Translation"),
    CaptioningModel: ("captions", "Captions"),
    VideoModel: ("videos", "Video"),
}


def page(models: Sequence[tuple[str, Model]], *, queue: int) -> Any:
    """Return the page of models, not served yet.

    Args:
        models: The checkpoint of each, and itself.
        queue: How many requests may wait.

    Raises:
        UsageError: There is a model of a kind that has no tab.
    """
    tabs = [_tab(path, model) for path, model in models]
    with gr.Blocks(title="unrolled", analytics_enabled=False, delete_cache=_FORGOTTEN) as blocks:
        gr.HTML("<h1>unrolled</h1>", apply_default_css=False)
        with gr.Tabs():
            titles = _titles(
                [(name, path) for (_, name), (path, _) in zip(tabs, models, strict=True)]
            )
            for number, (title, (path, model)) in enumerate(zip(titles, models, strict=True)):
                with gr.Tab(title):
                    gr.HTML(
                        element("p", about(path, model), class_="about"), apply_default_css=False
                    )
                    tabs[number][0](model, f"model {number}")
    blocks.queue(max_size=queue, api_open=False)
    return blocks


def about(path: str, model: Model) -> str:
    """Say what a tab's model is.

    Args:
        path: Its checkpoint.
        model: The model.
    """
    # where runs are kept is nobody's business
    place = "/".join(Path(path).parts[-4:])
    return f"{place}: {summary(model)}"


def _tab(path: str, model: Model) -> tuple[Callable[[Any, str], None], str]:
    if isinstance(model, CaptioningModel) and model.feature_size:
        raise UsageError(f"'{path}' holds a model of features: a demo shows pictures.")
    for kind, (module, name) in _TABS.items():
        if isinstance(model, kind):
            return import_module(f".{module}", __package__).tab, name
    raise UsageError(
        f"'{path}' holds {a(type(model))}: there are tabs for "
        f"{', '.join(kind.__name__ for kind in _TABS)}."
    )


def _titles(tabs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield what tabs are called: the task, and the run where there are several of one."""
    for number, (name, path) in enumerate(tabs):
        twins = [other for other in tabs if other[0] == name]
        file = Path(path)
        run = file.parent.parent.name if file.parent.name == "checkpoints" else file.stem
        same = [other for other in twins if other[1] == path]
        again = f" ({number + 1})" if len(same) > 1 else ""
        yield f"{name}: {run}{again}" if len(twins) > 1 and run else name
