"""torch's initialisers: the distributions of `torch.nn.init` and of the layers' own `reset_parameters`.

Most functions return an initialiser: `init(key, shape, dtype) -> array`, as in `jax.nn.initializers`. A shape
has the layout of this package: (in, out), (kH, kW, in/groups, out), or (kH, kW, out/groups, in) for a
transposed convolution. The fans are those that torch computes from its own layouts.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from flax_models.layers.ops.dtypes import at_least_float32

Shape = Sequence[int]
Initializer = Callable[..., jax.Array]  # (key, shape, dtype=float32) -> array


def normal(mean: float = 0.0, std: float = 1.0) -> Initializer:
    """N(mean, std^2)."""
    return lambda key, shape, dtype=jnp.float32: mean + std * jax.random.normal(key, shape, dtype)


def uniform(a: float = 0.0, b: float = 1.0) -> Initializer:
    """U(a, b)."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, a, b)


def constant(value: float) -> Initializer:
    """The same value everywhere."""
    return lambda key, shape, dtype=jnp.float32: jnp.full(shape, value, dtype)


def trunc_normal(mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Initializer:
    """N(mean, std^2) truncated to [a, b]; the bounds are absolute, not multiples of std.

    Errors: ValueError if a is not below b.
    """
    if not a < b:
        raise ValueError(f"trunc_normal needs a < b, got a={a} and b={b}")

    def init(key: jax.Array, shape: Shape, dtype: DTypeLike = jnp.float32) -> jax.Array:
        # The draw inverts the error function, in float32 at least. Beyond 5.4 standard deviations the error
        # function rounds to 1. With wider bounds the draw could return the bound itself, for example 200
        # standard deviations, once in 2^23 draws. Therefore the bounds are limited to 5.4.
        low, high = (max(-5.4, min(5.4, (bound - mean) / std)) for bound in (a, b))
        if low == high:  # [a, b] is in the far tail: nearly all of its probability is at the nearer end
            return jnp.full(shape, min(max(mean, a), b), dtype)
        draw = jax.random.truncated_normal(key, low, high, shape, at_least_float32(dtype))
        return jnp.clip(mean + std * draw, a, b).astype(dtype)

    return init


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """U(-b, b) with standard deviation gain * sqrt(2 / (fan_in + fan_out)). Glorot & Bengio 2010."""
    return _scaled(uniform_of_std, lambda shape: gain * math.sqrt(2 / sum(fans(shape))))


def xavier_normal(gain: float = 1.0) -> Initializer:
    """N(0, std^2) with std = gain * sqrt(2 / (fan_in + fan_out)). Glorot & Bengio 2010."""
    return _scaled(normal_of_std, lambda shape: gain * math.sqrt(2 / sum(fans(shape))))


def kaiming_uniform(a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Initializer:
    """U(-b, b) with standard deviation gain / sqrt(fan); a is the slope of a leaky ReLU. He et al. 2015."""
    return _scaled(uniform_of_std, _kaiming_std(a, mode, nonlinearity))


def kaiming_normal(a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Initializer:
    """N(0, std^2) with std = gain / sqrt(fan); a is the slope of a leaky ReLU. He et al. 2015."""
    return _scaled(normal_of_std, _kaiming_std(a, mode, nonlinearity))


def sparse(sparsity: float, std: float = 0.01) -> Initializer:
    """N(0, std^2) with a fraction of each input's weights set to zero. Martens 2010.

    The shape is (in, out). Each of the `in` rows, a column in torch, gets ceil(sparsity * out) zeros.

    Errors: ValueError unless there are two axes, and for a sparsity outside [0, 1].
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity is a fraction of the weights, got {sparsity}")

    def init(key: jax.Array, shape: Shape, dtype: DTypeLike = jnp.float32) -> jax.Array:
        if len(shape) != 2:
            raise ValueError(f"sparse initialises (in, out) weights, got shape {tuple(shape)}")
        values, order = jax.random.split(key)
        ranks = jnp.argsort(jax.random.uniform(order, shape), axis=1)  # a permutation of every row
        kept = ranks >= math.ceil(sparsity * shape[1])
        return jnp.where(kept, std * jax.random.normal(values, shape, dtype), 0)

    return init


def redraw(
    modules: Sequence[Any], init: Initializer, scale: Callable[[Shape], float], rngs: nnx.Rngs
) -> None:
    """Draws the `weight` of each of these layers again, from `init` times `scale` of the weight's shape.

    All weights are parts of one draw, because XLA compiles every draw separately: GoogLeNet's 64 draws took
    34 seconds, one draw takes 4.
    """
    weights = [module.weight for module in modules]
    ends = list(itertools.accumulate(weight.size for weight in weights))
    values = init(rngs.params(), (ends[-1],), weights[0].dtype)
    for weight, part in zip(weights, jnp.split(values, ends[:-1]), strict=True):
        weight.set_value(scale(weight.shape) * part.reshape(weight.shape))


def fan_in_uniform(fan_in: int) -> Initializer:
    """U(±1/sqrt(fan_in)), the default of weights and biases of Linear, Conv and ConvTranspose.

    torch writes it as `kaiming_uniform_(a=sqrt(5))`, which is the same distribution.
    """
    bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    return uniform(-bound, bound)


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight, from the kernel and the last two axes; ValueError for fewer axes."""
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need at least two axes, got shape {tuple(shape)}")
    *kernel, channels_in, channels_out = shape
    return channels_in * math.prod(kernel), channels_out * math.prod(kernel)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The gain of a nonlinearity: the inverse of the factor by which it reduces deviations.

    The values are torch's. param is the slope of "leaky_relu" (0.01 by default). Errors: ValueError for an
    unknown name.
    """
    gains = {
        "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0,
        "conv_transpose2d": 1.0, "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3,
        "relu": math.sqrt(2), "leaky_relu": math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2)),
        "selu": 3 / 4,
    }  # fmt: skip
    if nonlinearity not in gains:
        raise ValueError(f"unknown nonlinearity {nonlinearity!r}; there are {', '.join(gains)}")
    return gains[nonlinearity]


def normal_of_std(std: float) -> Initializer:
    """N(0, std^2)."""
    return normal(0.0, std)


def uniform_of_std(std: float) -> Initializer:
    """U(-b, b) with standard deviation std: b = sqrt(3) * std."""
    return uniform(-math.sqrt(3) * std, math.sqrt(3) * std)


def _scaled(
    distribution: Callable[[float], Initializer], std_of_shape: Callable[[Shape], float]
) -> Initializer:
    return lambda key, shape, dtype=jnp.float32: distribution(std_of_shape(shape))(key, shape, dtype)


def _kaiming_std(a: float, mode: str, nonlinearity: str) -> Callable[[Shape], float]:
    modes = ("fan_in", "fan_out")
    if mode not in modes:
        raise ValueError(f"mode must be one of {modes}, got {mode!r}")
    gain = calculate_gain(nonlinearity, a)
    return lambda shape: gain / math.sqrt(fans(shape)[modes.index(mode)])
