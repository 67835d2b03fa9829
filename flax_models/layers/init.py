"""torch's initialisers: what `torch.nn.init` and the layers' own `reset_parameters` draw.

Each function here makes an initialiser: `init(key, shape, dtype) -> array`, as in
`jax.nn.initializers`. A shape is that of our layouts, (in, out) or (kH, kW, in/groups, out), and
for a transposed convolution (kH, kW, out/groups, in); the fans are what torch computes from its own.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp


def normal(mean: float = 0.0, std: float = 1.0):
    """N(mean, std^2)."""
    return lambda key, shape, dtype=jnp.float32: mean + std * jax.random.normal(key, shape, dtype)


def uniform(a: float = 0.0, b: float = 1.0):
    """U(a, b)."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, a, b)


def constant(value: float):
    """The value everywhere."""
    return lambda key, shape, dtype=jnp.float32: jnp.full(shape, value, dtype)


def trunc_normal(mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0):
    """N(mean, std^2) within [a, b]: absolute bounds, not multiples of std.

    Errors: ValueError where a is not below b.
    """
    if not a < b:
        raise ValueError(f"trunc_normal needs a < b, got a={a} and b={b}")

    def init(key, shape, dtype=jnp.float32):
        # Drawn by inverting the error function, in float32 at least. Beyond 5.4 deviations that is 1
        # to the last bit, and wider bounds would themselves be drawn: 200 deviations, once in 2^23.
        low, high = (max(-5.4, min(5.4, (bound - mean) / std)) for bound in (a, b))
        if low == high:  # [a, b] lies in the far tail, where all of the mass is at the nearer end
            return jnp.full(shape, min(max(mean, a), b), dtype)
        draw = jax.random.truncated_normal(key, low, high, shape, jnp.promote_types(dtype, jnp.float32))
        return jnp.clip(mean + std * draw, a, b).astype(dtype)

    return init


def xavier_uniform(gain: float = 1.0):
    """U(-b, b) of standard deviation gain * sqrt(2 / (fan_in + fan_out)). Glorot & Bengio 2010."""
    return _scaled(uniform_of_std, lambda shape: gain * math.sqrt(2 / sum(fans(shape))))


def xavier_normal(gain: float = 1.0):
    """N(0, std^2) with std = gain * sqrt(2 / (fan_in + fan_out)). Glorot & Bengio 2010."""
    return _scaled(normal_of_std, lambda shape: gain * math.sqrt(2 / sum(fans(shape))))


def kaiming_uniform(a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"):
    """U(-b, b) of standard deviation gain / sqrt(fan); a is the slope of a leaky ReLU. He et al. 2015."""
    return _scaled(uniform_of_std, _kaiming_std(a, mode, nonlinearity))


def kaiming_normal(a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"):
    """N(0, std^2) with std = gain / sqrt(fan); a is the slope of a leaky ReLU. He et al. 2015."""
    return _scaled(normal_of_std, _kaiming_std(a, mode, nonlinearity))


def sparse(sparsity: float, std: float = 0.01):
    """N(0, std^2), but for each input a fraction of its weights zero. Martens 2010.

    Shape (in, out), where each of the `in` rows gets ceil(sparsity * out) zeros: a column of torch's.

    Errors: ValueError for other than two axes, and for a sparsity outside [0, 1].
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity is a fraction of the weights, got {sparsity}")

    def init(key, shape, dtype=jnp.float32):
        if len(shape) != 2:
            raise ValueError(f"sparse initialises (in, out) weights, got shape {tuple(shape)}")
        values, order = jax.random.split(key)
        ranks = jnp.argsort(jax.random.uniform(order, shape), axis=1)  # a permutation in every row
        kept = ranks >= math.ceil(sparsity * shape[1])
        return jnp.where(kept, std * jax.random.normal(values, shape, dtype), 0)

    return init


def redraw(modules: Sequence, init: Callable, scale: Callable[[Sequence[int]], float], rngs) -> None:
    """Draws the `weight` of each of these layers anew: `init`, times `scale` of the weight's shape.

    All are cut from one draw. XLA compiles every draw on its own: GoogLeNet's 64 took 34 seconds, this 4.
    """
    weights = [module.weight for module in modules]
    ends = list(itertools.accumulate(weight.size for weight in weights))
    values = init(rngs.params(), (ends[-1],), weights[0].dtype)
    for weight, part in zip(weights, jnp.split(values, ends[:-1]), strict=True):
        weight.set_value(scale(weight.shape) * part.reshape(weight.shape))


def fan_in_uniform(fan_in: int):
    """U(±1/sqrt(fan_in)), the default of Linear, Conv and ConvTranspose, for their biases too.

    torch writes it as `kaiming_uniform_(a=sqrt(5))`, which is the same distribution.
    """
    bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    return uniform(-bound, bound)


def fans(shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight in our layout. ValueError for less than two axes."""
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need at least two axes, got shape {tuple(shape)}")
    *kernel, narrow, wide = shape
    return narrow * math.prod(kernel), wide * math.prod(kernel)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks deviations, inverted; torch's table.

    param is the slope of "leaky_relu" (0.01 by default). Errors: ValueError for an unknown name.
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


def normal_of_std(std: float):
    """N(0, std^2)."""
    return normal(0.0, std)


def uniform_of_std(std: float):
    """U(-b, b) of that standard deviation: b = sqrt(3) * std."""
    return uniform(-math.sqrt(3) * std, math.sqrt(3) * std)


def _scaled(distribution, std_of_shape):
    return lambda key, shape, dtype=jnp.float32: distribution(std_of_shape(shape))(key, shape, dtype)


def _kaiming_std(a: float, mode: str, nonlinearity: str):
    modes = ("fan_in", "fan_out")
    if mode not in modes:
        raise ValueError(f"mode must be one of {modes}, got {mode!r}")
    gain = calculate_gain(nonlinearity, a)
    return lambda shape: gain / math.sqrt(fans(shape)[modes.index(mode)])
