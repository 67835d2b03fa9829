"""torch.nn's layers on NHWC arrays: the same names, arguments, defaults and meaning.

A layer's variables carry torch's names too (`weight`, `bias`, `running_mean`); only their layout
is JAX's. Write `from flax_models import layers as nn` and a model reads like its PyTorch twin.
"""

from flax_models.layers.activation import LeakyReLU, ReLU, Sigmoid, Tanh
from flax_models.layers.container import Flatten, Sequential, Unflatten
from flax_models.layers.conv import Conv2d, ConvTranspose2d
from flax_models.layers.linear import Linear
from flax_models.layers.norm import BatchNorm1d, BatchNorm2d
from flax_models.layers.pool import MaxPool2d

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Flatten",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "Unflatten",
]
