"""Activations with torch's gradients at the points where a derivative does not exist."""

import jax
import jax.numpy as jnp
from flax import nnx


class ReLU(nnx.Module):
    """max(x, 0), any shape; the gradient at 0 is 0."""

    def __call__(self, x):
        return jax.nn.relu(x)


class LeakyReLU(nnx.Module):
    """x where x > 0, negative_slope * x elsewhere, any shape; the gradient at 0 is the slope."""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def __call__(self, x):
        return jnp.where(x > 0, x, self.negative_slope * x)


class Tanh(nnx.Module):
    """tanh(x), any shape."""

    def __call__(self, x):
        return jnp.tanh(x)


class Sigmoid(nnx.Module):
    """1 / (1 + exp(-x)), any shape."""

    def __call__(self, x):
        return jax.nn.sigmoid(x)
