"""Recurrent cores under one contract. Imports torch and nothing else."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from .compose import Bidirectional, Stacked
from .cores.gru import GRU, GRUState
from .cores.ind_rnn import IndRNN, IndRNNState
from .cores.layer_norm_lstm import LayerNormLSTM
from .cores.lstm import LSTM, LSTMState
from .cores.min_gru import MinGRU, MinGRUState
from .cores.min_lstm import MinLSTM, MinLSTMState
from .cores.mlstm import MLSTM, MLSTMState
from .cores.mogrifier_lstm import MogrifierLSTM
from .cores.qrnn import QRNN, QRNNState
from .cores.rg_lru import RGLRU, RGLRUState
from .cores.rnn import RNN, RNNState
from .cores.slstm import SLSTM, SLSTMState
from .dropout import EmbeddingDropout, LockedDropout, WeightDrop, Zoneout
from .kernels.scan import linear_recurrence, linear_recurrence_reference
from .recurrent import CoreFactory, RecurrentCore, reference
from .seq2seq.attention import (
    AdditiveAttention,
    Attention,
    AttentionFactory,
    DotAttention,
    GatedAttention,
    GeneralAttention,
)
from .seq2seq.decoder import Decoded, DecoderState, SequenceDecoder
from .seq2seq.encoder import Memory, SequenceEncoder
from .seq2seq.sampling import choose, sample
from .seq2seq.search import Hypothesis, beam_search, greedy_search, sample_search, search_sequences
from .state import (
    State,
    concatenate,
    detach,
    from_plain,
    leaves,
    map_state,
    select_rows,
    split,
    to_plain,
    where_rows,
)
from .vision.encoders import (
    Backbone,
    BackboneFactory,
    FrameEncoder,
    ImageEncoder,
    SmallCNN,
    TorchvisionBackbone,
)

__all__ = [
    "GRU",
    "LSTM",
    "MLSTM",
    "QRNN",
    "RGLRU",
    "RNN",
    "SLSTM",
    "AdditiveAttention",
    "Attention",
    "AttentionFactory",
    "Backbone",
    "BackboneFactory",
    "Bidirectional",
    "CoreFactory",
    "Decoded",
    "DecoderState",
    "DotAttention",
    "EmbeddingDropout",
    "FrameEncoder",
    "GRUState",
    "GatedAttention",
    "GeneralAttention",
    "Hypothesis",
    "ImageEncoder",
    "IndRNN",
    "IndRNNState",
    "LSTMState",
    "LayerNormLSTM",
    "LockedDropout",
    "MLSTMState",
    "Memory",
    "MinGRU",
    "MinGRUState",
    "MinLSTM",
    "MinLSTMState",
    "MogrifierLSTM",
    "QRNNState",
    "RGLRUState",
    "RNNState",
    "RecurrentCore",
    "SLSTMState",
    "SequenceDecoder",
    "SequenceEncoder",
    "SmallCNN",
    "Stacked",
    "State",
    "TorchvisionBackbone",
    "WeightDrop",
    "Zoneout",
    "beam_search",
    "choose",
    "concatenate",
    "detach",
    "discover_cores",
    "from_plain",
    "greedy_search",
    "leaves",
    "linear_recurrence",
    "linear_recurrence_reference",
    "map_state",
    "reference",
    "sample",
    "sample_search",
    "search_sequences",
    "select_rows",
    "split",
    "to_plain",
    "where_rows",
]


def discover_cores() -> dict[str, type[RecurrentCore]]:
    """Finds every core by importing the modules of this folder.

    Returns:
        Class by name, in alphabetical order: every concrete subclass of `RecurrentCore`. A core is
        made from (input_size, hidden_size), a composition (Stacked, Bidirectional, WeightDrop,
        Zoneout) from (input_size, core).
    """
    found = {}
    for info in pkgutil.walk_packages(__path__, f"{__name__}."):
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == __name__.partition(".")[0]:
                raise
            continue  # needs a package that is not installed, such as triton
        for name, value in vars(module).items():
            is_core = (
                inspect.isclass(value)
                and issubclass(value, RecurrentCore)
                and not inspect.isabstract(value)
            )
            if is_core and value.__module__ == module.__name__:
                found[name] = value
    return dict(sorted(found.items()))


def __getattr__(name: str) -> type[RecurrentCore]:
    """Finds a core that is not imported above: a new one is exported by existing."""
    if name[:1].isupper() and name in (found := discover_cores()):
        return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
