"""Multilayer perceptrons for 28x28 images: one with plain ReLUs, one with batch norm before them."""

from flax import nnx

from flax_models import layers as nn


class FashionMLP(nnx.Module):
    """Images (N, 28, 28, 1) -> logits (N, num_classes); two hidden layers of hidden_features."""

    def __init__(self, num_classes: int = 10, hidden_features: int = 512, *, rngs: nnx.Rngs):
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, num_classes, rngs=rngs),
        )

    def __call__(self, images):
        return self.fc(images)


class MLPBatchNorm(nnx.Module):
    """Images (N, 28, 28, 1) -> logits (N, num_classes); the second hidden layer a third of the first."""

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

    def __call__(self, images):
        return self.fc(images)


MODELS = {"fashion_mlp": FashionMLP, "mlp_bn": MLPBatchNorm}
