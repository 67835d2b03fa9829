"""torch.nn's layers on channels-last arrays: the same names, arguments, defaults and meaning.

A layer's variables have torch's names too (`weight`, `bias`, `running_mean`); only their layout is JAX's.
Write `from flax_models import layers as nn`, and a model reads like its PyTorch twin. `nn.init` holds torch's
initialisers. The array functions below the layers are in `flax_models.layers.ops`.
"""

from flax_models.layers import init
from flax_models.layers.activation import (
    ELU,
    GELU,
    Hardtanh,
    Identity,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from flax_models.layers.adaptive_pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d
from flax_models.layers.container import Flatten, Sequential, Unflatten
from flax_models.layers.conv import Conv2d, ConvTranspose2d
from flax_models.layers.dropout import Dropout, Dropout2d
from flax_models.layers.embedding import Embedding
from flax_models.layers.layer_norm import GroupNorm, LayerNorm
from flax_models.layers.linear import Linear, Maxout
from flax_models.layers.norm import BatchNorm1d, BatchNorm2d, InstanceNorm2d
from flax_models.layers.pad import ReflectionPad2d, ZeroPad2d
from flax_models.layers.pool import AvgPool2d, LPPool2d, MaxPool2d
from flax_models.layers.recurrent import GRU, LSTM, RNN, GRUCell
from flax_models.layers.upsample import Upsample

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Dropout2d",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GroupNorm",
    "Hardtanh",
    "Identity",
    "InstanceNorm2d",
    "LPPool2d",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Maxout",
    "PReLU",
    "ReLU",
    "ReflectionPad2d",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Unflatten",
    "Upsample",
    "ZeroPad2d",
    "init",
]
