"""Deep dream: Mordvintsev, Olah & Tyka, "Inceptionism: Going Deeper into Neural Networks" (2015).

A public class, not a model of the catalogue: it works with the `features` of a trained classifier.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models import layers as nn

# Of the images of ImageNet in [0, 1], per channel; torchvision's published classifiers expect them.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class DeepDream(nnx.Module):
    """Images (N, H, W, 3) in [0, 1] -> images of the same shape, in which a layer is more active.

    features: the modules of a convolutional network. layer: n means the output of the first n of them. Each
    iteration adds `rate` times the gradient of the L2 norm of this output to the normalised image.
    accumulate: the gradients of all iterations are summed, as torch does when nothing resets them; False uses
    the gradient of the iteration alone.
    """

    def __init__(
        self, features: Sequence[Any], layer: int, iterations: int = 5, rate: float = 0.2,
        accumulate: bool = True,
    ):  # fmt: skip
        self.features = nn.Sequential(*list(features)[:layer])
        self.iterations, self.rate, self.accumulate = iterations, rate, accumulate

    def __call__(self, images: jax.Array) -> jax.Array:
        x = self.normalize(images)
        gradient = jnp.zeros_like(x)
        for _ in range(self.iterations):
            x, gradient, _ = self.iterate(x, gradient)
        return self.denormalize(x)

    def iterate(self, x: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(the next x, the gradient that was added, the norms (N,) of x) for a normalised x (N, H, W, 3)."""
        norms, new = self.norms_and_gradient(x)
        gradient = gradient + new if self.accumulate else new
        return x + self.rate * gradient, gradient, norms

    def norms_and_gradient(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The norms (N,) of the layer's output, and their gradient (N, H, W, 3); 0 where a norm is 0."""

        def total(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            squares = jnp.square(self.features(x)).sum((1, 2, 3))
            # The root's gradient at 0 is infinite. torch defines the gradient of the norm there as 0.
            norms = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
            return norms.sum(), norms

        (_, norms), gradient = jax.value_and_grad(total, has_aux=True)(x)
        return norms, gradient

    def normalize(self, images: jax.Array) -> jax.Array:
        """Images in [0, 1] as the network takes them."""
        return (images - jnp.asarray(MEAN, images.dtype)) / jnp.asarray(STD, images.dtype)

    def denormalize(self, x: jax.Array) -> jax.Array:
        """The inverse of `normalize`, clipped to [0, 1]."""
        return jnp.clip(x * jnp.asarray(STD, x.dtype) + jnp.asarray(MEAN, x.dtype), 0, 1)
