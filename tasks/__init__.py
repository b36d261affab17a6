"""The tasks, a room each: a model, and the LightningModule that trains it.

Names are imported at their first use, so that a model can be used without Lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .base import Task as Task
    from .captioning.model import CaptioningModel as CaptioningModel
    from .captioning.task import Captioning as Captioning
    from .char_lm.dynamic_evaluation import DynamicEvaluation as DynamicEvaluation
    from .char_lm.model import CharModel as CharModel
    from .char_lm.task import CharLM as CharLM
    from .ensembles import ensemble as ensemble
    from .model import Model as Model
    from .translation.model import TranslationModel as TranslationModel
    from .translation.task import Translation as Translation
    from .video.model import VideoModel as VideoModel
    from .video.task import VideoLabelling as VideoLabelling

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
