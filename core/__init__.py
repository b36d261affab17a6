"""Recurrent cores under one contract, and what is made of them. Imports torch and nothing else.

What is imported here under its own name is exported; helpers of states are in `core.state`.
"""

import importlib
import inspect
import pkgutil

from .compose import Bidirectional as Bidirectional
from .compose import Stacked as Stacked
from .cores.cfc import CfC as CfC
from .cores.cfc import CfCState as CfCState
from .cores.gated_delta_net import GatedDeltaNet as GatedDeltaNet
from .cores.gated_delta_net import GatedDeltaNetState as GatedDeltaNetState
from .cores.gru import GRU as GRU
from .cores.gru import GRUState as GRUState
from .cores.hgrn2 import HGRN2 as HGRN2
from .cores.hgrn2 import HGRN2State as HGRN2State
from .cores.ind_rnn import IndRNN as IndRNN
from .cores.ind_rnn import IndRNNState as IndRNNState
from .cores.layer_norm_lstm import LayerNormLSTM as LayerNormLSTM
from .cores.lru import LRU as LRU
from .cores.lru import LRUState as LRUState
from .cores.lstm import LSTM as LSTM
from .cores.mamba2 import Mamba2 as Mamba2
from .cores.mamba2 import Mamba2State as Mamba2State
from .cores.min_gru import MinGRU as MinGRU
from .cores.min_gru import MinGRUState as MinGRUState
from .cores.min_lstm import MinLSTM as MinLSTM
from .cores.min_lstm import MinLSTMState as MinLSTMState
from .cores.mlstm import MLSTM as MLSTM
from .cores.mlstm import MLSTMState as MLSTMState
from .cores.mogrifier_lstm import MogrifierLSTM as MogrifierLSTM
from .cores.para_gru import ParaGRU as ParaGRU
from .cores.para_gru import ParaGRUState as ParaGRUState
from .cores.para_lstm import ParaLSTM as ParaLSTM
from .cores.qrnn import QRNN as QRNN
from .cores.qrnn import QRNNState as QRNNState
from .cores.rg_lru import RGLRU as RGLRU
from .cores.rg_lru import RGLRUStartedState as RGLRUStartedState
from .cores.rg_lru import RGLRUState as RGLRUState
from .cores.rnn import RNN as RNN
from .cores.rnn import RNNState as RNNState
from .cores.slstm import SLSTM as SLSTM
from .cores.slstm import SLSTMState as SLSTMState
from .dropout import EmbeddingDropout as EmbeddingDropout
from .dropout import LockedDropout as LockedDropout
from .dropout import WeightDrop as WeightDrop
from .dropout import Zoneout as Zoneout
from .interop.modules import from_torch as from_torch
from .interop.modules import state_from_torch as state_from_torch
from .interop.modules import state_to_torch as state_to_torch
from .interop.modules import to_torch as to_torch
from .interop.packed import pack as pack
from .interop.packed import unpack as unpack
from .kernels.scan import linear_recurrence as linear_recurrence
from .kernels.scan import linear_recurrence_reference as linear_recurrence_reference
from .products import eight_bits as eight_bits
from .recurrent import CoreFactory as CoreFactory
from .recurrent import RecurrentCore as RecurrentCore
from .reference import reference as reference
from .seq2seq.attention import AdditiveAttention as AdditiveAttention
from .seq2seq.attention import Attention as Attention
from .seq2seq.attention import AttentionFactory as AttentionFactory
from .seq2seq.attention import DotAttention as DotAttention
from .seq2seq.attention import GatedAttention as GatedAttention
from .seq2seq.attention import GeneralAttention as GeneralAttention
from .seq2seq.decoder import Decoded as Decoded
from .seq2seq.decoder import DecoderState as DecoderState
from .seq2seq.decoder import SequenceDecoder as SequenceDecoder
from .seq2seq.encoder import Memory as Memory
from .seq2seq.encoder import SequenceEncoder as SequenceEncoder
from .seq2seq.sampling import choose as choose
from .seq2seq.sampling import sample as sample
from .seq2seq.search import Hypothesis as Hypothesis
from .seq2seq.search import beam_search as beam_search
from .seq2seq.search import greedy_search as greedy_search
from .seq2seq.search import sample_search as sample_search
from .seq2seq.search import search_sequences as search_sequences
from .state import LSTMState as LSTMState
from .state import State as State
from .vision.backbones import Backbone as Backbone
from .vision.backbones import BackboneFactory as BackboneFactory
from .vision.backbones import PretrainedBackbone as PretrainedBackbone
from .vision.backbones import SmallCNN as SmallCNN
from .vision.backbones import TorchvisionBackbone as TorchvisionBackbone
from .vision.encoders import FrameEncoder as FrameEncoder
from .vision.encoders import ImageEncoder as ImageEncoder
from .vision.encoders import RegionEncoder as RegionEncoder
from .vision.timm_backbone import TimmBackbone as TimmBackbone


def discover_cores() -> dict[str, type[RecurrentCore]]:
    """Find every core by importing the modules of this folder.

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
    """Find a core that is not imported above: a new one is exported by existing."""
    if name[:1].isupper() and name in (found := discover_cores()):
        return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_names = vars().copy()
__all__ = [name for name in _names if name[0] != "_" and not inspect.ismodule(_names[name])]
