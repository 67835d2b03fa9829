"""Multilayer perceptrons for 28x28 images: one with ReLUs, one with batch norm before each ReLU."""

import jax
from flax import nnx

from flax_models import layers as nn


class FashionMLP(nnx.Module):
    """Images (N, 28, 28, 1) -> logits (N, num_classes); two hidden layers of hidden_features units."""

    def __init__(self, num_classes: int = 10, hidden_features: int = 512, *, rngs: nnx.Rngs):
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, num_classes, rngs=rngs),
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.fc(images)


class MLPBatchNorm(nnx.Module):
    """Images (N, 28, 28, 1) -> logits (N, num_classes).

    The first hidden layer has hidden_features units, the second a third of them.
    """

    def __init__(self, num_classes: int = 10, hidden_features: int = 300, *, rngs: nnx.Rngs):
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_features, rngs=rngs),
            nn.BatchNorm1d(hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features // 3, rngs=rngs),
            nn.BatchNorm1d(hidden_features // 3),
            nn.ReLU(),
            nn.Linear(hidden_features // 3, num_classes, rngs=rngs),
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.fc(images)


MODELS = {"fashion_mlp": FashionMLP, "mlp_bn": MLPBatchNorm}
