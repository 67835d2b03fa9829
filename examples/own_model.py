"""A model of your own: train it in JAX on arrays, evaluate it, and convert it to PyTorch.

`python examples/own_model.py` takes about ten seconds on two CPU cores.
"""

import jax
import numpy as np
import torch
from flax import nnx
from sklearn.datasets import load_digits

import train
from convert import to_torch
from flax_models import layers
from train.optim import Adam


class DigitNet(nnx.Module):
    """Images (N, 8, 8, 1) -> logits (N, num_classes)."""

    def __init__(self, num_classes: int = 10, width: int = 16, *, rngs: nnx.Rngs):
        self.conv = layers.Conv2d(1, width, 3, padding=1, rngs=rngs)
        self.fc = layers.Linear(width * 4 * 4, num_classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        x = jax.nn.relu(self.conv(images))  # (N, 8, 8, width)
        x = layers.MaxPool2d(2)(x)  # (N, 4, 4, width)
        return self.fc(layers.Flatten()(x))  # Flatten takes torch's order: channels, height, width


class TorchDigitNet(torch.nn.Module):
    """The twin: images (N, 1, 8, 8) -> logits (N, num_classes), with the same attribute names."""

    def __init__(self, num_classes: int = 10, width: int = 16):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, width, 3, padding=1)
        self.fc = torch.nn.Linear(width * 4 * 4, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.max_pool2d(torch.relu(self.conv(images)), 2)
        return self.fc(x.flatten(1))


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    data = (images[:1500], labels[:1500]), (images[1500:], labels[1500:])  # training, test

    run = train.fit(model=DigitNet, task="classify", data=data, epochs=20, optimizer=Adam(lr=3e-3))
    print(run.evaluate().show())
    print("predicted", run.classify(images[-10:]), "for", labels[-10:])

    twin = to_torch(run.model, TorchDigitNet()).eval()
    with torch.no_grad():
        outputs = twin(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    print(f"largest difference of the outputs: {abs(run.predict(images) - outputs).max():.1e}")


if __name__ == "__main__":
    main()
