"""Regression: the smallest networks, with one or two Linear layers.

two_layer_net is the network of PyTorch's first tutorial: it has no biases, and weights of unit variance.
"""

import jax
from flax import nnx

from flax_models import layers as nn


class LinearRegression(nnx.Module):
    """A line, or a plane: x (N, in_features) -> y (N, 1)."""

    def __init__(self, in_features: int = 1, *, rngs: nnx.Rngs):
        self.linear = nn.Linear(in_features, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.linear(x)


class PolynomialRegression(nnx.Module):
    """A cubic polynomial: the powers (x, x^2, x^3) as (N, 3) -> y (N, 1)."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.linear = nn.Linear(3, 1, rngs=rngs)

    def __call__(self, powers: jax.Array) -> jax.Array:
        return self.linear(powers)


class LogisticRegression(nnx.Module):
    """x (N, in_features) -> the probability (N, 1) of the second class."""

    def __init__(self, in_features: int = 2, *, rngs: nnx.Rngs):
        self.linear = nn.Linear(in_features, 1, rngs=rngs)
        self.sigmoid = nn.Sigmoid()

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.sigmoid(self.linear(x))


class TwoLayerNet(nnx.Module):
    """(N, in_features) -> (N, out_features) with one ReLU, no biases, and weights N(0, 1)."""

    def __init__(
        self, in_features: int = 1000, hidden_features: int = 100, out_features: int = 10, *, rngs: nnx.Rngs
    ):
        self.fc1 = nn.Linear(in_features, hidden_features, bias=False, rngs=rngs)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(hidden_features, out_features, bias=False, rngs=rngs)
        for fc in (self.fc1, self.fc2):
            fc.weight.set_value(nn.init.normal()(rngs.params(), fc.weight.shape, fc.weight.dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc2(self.relu(self.fc1(x)))


MODELS = {
    "linear_regression": LinearRegression,
    "polynomial_regression": PolynomialRegression,
    "logistic_regression": LogisticRegression,
    "two_layer_net": TwoLayerNet,
}
