"""AlexNet: Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014).

The keys and shapes are torchvision's, so its published weights load.
"""

import jax
from flax import nnx

from flax_models import layers as nn


class AlexNet(nnx.Module):
    """Images (N, H, W, 3) -> logits (N, num_classes); width: the number of channels of the first convolution.

    Errors: ValueError for images of less than 63 pixels a side, which are too small for the last pool.
    """

    def __init__(
        self, num_classes: int = 1000, dropout: float = 0.5, width: int = 64, hidden_features: int = 4096,
        *, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.features = nn.Sequential(  # the shapes are those of 224x224 images
            nn.Conv2d(3, width, 11, stride=4, padding=2, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 27, 27, 64)
            nn.Conv2d(width, 3 * width, 5, padding=2, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 13, 13, 192)
            nn.Conv2d(3 * width, 6 * width, 3, padding=1, rngs=rngs),
            nn.ReLU(),
            nn.Conv2d(6 * width, 4 * width, 3, padding=1, rngs=rngs),
            nn.ReLU(),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 6, 6, 256)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout, rngs=rngs),
            nn.Linear(4 * width * 6 * 6, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Dropout(dropout, rngs=rngs),
            nn.Linear(hidden_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, num_classes, rngs=rngs),
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.classifier(self.flatten(self.avgpool(self.features(images))))


MODELS = {"alexnet": AlexNet}
