"""Activation functions with torch's gradients at the points where a derivative does not exist."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from flax_models.layers.ops.shapes import channels_last_axis


class Identity(nnx.Module):
    """Returns x. Like torch's Identity, it ignores all arguments of the constructor."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __call__(self, x: Any) -> Any:
        return x


class ReLU(nnx.Module):
    """max(x, 0), any shape; the gradient at 0 is 0."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(x)


class LeakyReLU(nnx.Module):
    """x where x > 0, negative_slope * x elsewhere, any shape; the gradient at 0 is the slope."""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, x, self.negative_slope * x)


class PReLU(nnx.Module):
    """x where x > 0, weight * x elsewhere; the gradient at 0 is the weight.

    weight is (num_parameters,): one value for all channels, or one for each channel of (N, ..., C).

    Errors: ValueError if num_parameters is neither 1 nor the number of channels.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs | None = None,
    ):  # fmt: skip
        self.num_parameters, self.dtype = num_parameters, dtype
        self.weight = nnx.Param(jnp.full(num_parameters, init, param_dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.num_parameters != 1 and (x.ndim < 2 or x.shape[-1] != self.num_parameters):
            raise ValueError(f"PReLU({self.num_parameters}) does not fit the channels of shape {x.shape}")
        dtype = self.dtype or x.dtype
        x, weight = x.astype(dtype), self.weight[...].astype(dtype)
        return jnp.where(x > 0, x, weight * x)


class ELU(nnx.Module):
    """x where x > 0, alpha * (exp(x) - 1) elsewhere, any shape; the gradient at 0 is alpha."""

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, x, self.alpha * jnp.expm1(jnp.where(x > 0, 0, x)))


class GELU(nnx.Module):
    """x * Phi(x), where Phi is the normal distribution function; approximate="tanh" approximates it.

    Errors: ValueError for any other approximation. Hendrycks & Gimpel 2016.
    """

    def __init__(self, approximate: str = "none"):
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.gelu(x, approximate=self.approximate == "tanh")


class SiLU(nnx.Module):
    """x * sigmoid(x), any shape."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.silu(x)


class Softplus(nnx.Module):
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold; any shape."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta, self.threshold = beta, threshold

    def __call__(self, x: jax.Array) -> jax.Array:
        linear = self.beta * x > self.threshold
        curved = jnp.log1p(jnp.exp(self.beta * jnp.where(linear, 0, x))) / self.beta
        return jnp.where(linear, x, curved)


class Hardtanh(nnx.Module):
    """x clipped to [min_val, max_val]; the gradient at both ends is 0.

    Errors: ValueError if max_val is not greater than min_val.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0):
        if not min_val < max_val:
            raise ValueError(f"max_val={max_val} must be greater than min_val={min_val}")
        self.min_val, self.max_val = min_val, max_val

    def __call__(self, x: jax.Array) -> jax.Array:
        above = jnp.where(x >= self.max_val, jnp.asarray(self.max_val, x.dtype), x)
        return jnp.where(x <= self.min_val, jnp.asarray(self.min_val, x.dtype), above)


class Tanh(nnx.Module):
    """tanh(x), any shape."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.tanh(x)


class Sigmoid(nnx.Module):
    """1 / (1 + exp(-x)), any shape."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(x)


class Softmax(nnx.Module):
    """exp(x) divided by its sum along torch's dim; dim 1 is the channels of (N, C), (N, L, C), (N, H, W, C).

    An input of three or more axes is read as torch's (N, C, ...) with its channels moved to the end. dim,
    which may be negative, is the number of the axis in torch's order. Sequences have the same layout in both
    frameworks: for them call jax.nn.softmax(x, axis).

    Errors: ValueError if the input has no such axis.
    """

    def __init__(self, dim: int):
        self.dim = dim

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.softmax(x, channels_last_axis(self.dim, x))


class LogSoftmax(nnx.Module):
    """log(Softmax(x)), computed without the quotient; dim and errors are those of Softmax."""

    def __init__(self, dim: int):
        self.dim = dim

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(x, channels_last_axis(self.dim, x))
