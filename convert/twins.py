"""TWINS: what the certificate and the export need to know of each model, one row per model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from train.lookup import look_up


@dataclass(frozen=True)
class Example:
    """One input of a module: its shape without the batch axis, channels last, and its range.

    low, high: drawn uniformly between them; integers where both are ints.
    """

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0

    def draw(self, rng: np.random.Generator, batch: int) -> np.ndarray:
        """(batch, *shape) float64, or int64 below `high`."""
        size = (batch, *self.shape)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return rng.integers(self.low, self.high, size)
        return rng.uniform(self.low, self.high, size)


@dataclass(frozen=True)
class Twin:
    """A model and its counterpart.

    examples: {child that is called: its inputs}; "" is the model itself.
    exported: the children that are deployed. tiny: options of a small variant, for fast tests.
    exempt: leaves (torch names) with a true gradient of zero: biases that feed a norm directly,
    whose optimizer step divides rounding noise by itself.
    """

    examples: Mapping[str, tuple[Example, ...]]
    batch: Mapping[str, Example]
    exported: tuple[str, ...]
    tiny: Mapping[str, Any] = field(default_factory=dict)
    exempt: tuple[str, ...] = ()


_IMAGE = Example((28, 28, 1))

TWINS: dict[str, Twin] = {
    "dcgan": Twin(
        examples={"generator": (Example((96,)),), "discriminator": (_IMAGE,)},
        batch={"image": _IMAGE},
        exported=("generator",),
        tiny={"hidden_features": 32, "channels": 4},
    ),
}


def find_twin(model: str) -> Twin:
    """TWINS[model]; ValueError with near matches where there is none."""
    return look_up(TWINS, model, "model")
