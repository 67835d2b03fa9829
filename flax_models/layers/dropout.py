"""Dropout of single values and of whole channels."""

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models.layers.ops.shapes import check_images


class Dropout(nnx.Module):
    """In training, zeroes each value with probability p and divides the others by 1 - p; any shape.

    The masks come from the "dropout" stream of rngs, unless the call gives its own mask. A mask is true where
    a value is kept; its shape broadcasts to the input's. In evaluation (`module.eval()`) the input passes
    unchanged. Srivastava et al. 2014.

    Errors: ValueError for p outside [0, 1], and for a call in training with neither rngs nor mask.
    """

    def __init__(self, p: float = 0.5, *, rngs: nnx.Rngs | None = None):
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability, between 0 and 1; got {p}")
        self.p = float(p)
        self.rngs = rngs["dropout"].fork() if rngs is not None else nnx.data(None)
        self.deterministic = False  # module.train() and module.eval() set it

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        if self.deterministic or self.p == 0:
            return x
        if mask is None:
            if self.rngs is None:
                raise ValueError(f"{type(self).__name__} needs rngs or a mask in training")
            mask = self.draw_mask(x)
        return x * jnp.where(mask, 0.0 if self.p == 1 else 1 / (1 - self.p), 0.0).astype(x.dtype)

    def draw_mask(self, x: jax.Array) -> jax.Array:
        """The next mask for an input like x: true where a value is kept."""
        assert self.rngs is not None
        return jax.random.bernoulli(self.rngs(), 1 - self.p, self._mask_shape(x))

    def _mask_shape(self, x: jax.Array) -> tuple[int, ...]:
        return x.shape


class Dropout2d(Dropout):
    """Dropout of whole channels: (N, H, W, C) -> (N, H, W, C); a mask is (N, 1, 1, C).

    Errors: those of Dropout, and ValueError for input that is not (N, H, W, C). Tompson et al. 2015.
    """

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        check_images(x, self)
        return super().__call__(x, mask)

    def _mask_shape(self, x: jax.Array) -> tuple[int, ...]:
        return x.shape[0], 1, 1, x.shape[3]
