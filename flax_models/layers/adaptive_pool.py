"""Average and maximum pooling to a given output size."""

from typing import Any

import jax
from flax import nnx

from flax_models.layers.ops.adaptive_pool import OutputSize, adaptive_avg_pool2d, adaptive_max_pool2d
from flax_models.layers.ops.shapes import check_images


class _AdaptivePool2d(nnx.Module):
    """The argument that both layers share. Output i covers the rows floor(i*H/OH) to ceil((i+1)*H/OH)."""

    output_size: OutputSize

    def __init__(self, output_size: int | OutputSize):
        size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size or ())
        if len(size) != 2 or any(n is not None and n < 1 for n in size):
            raise ValueError(
                f"output_size must be a positive int or a pair of them or None, got {output_size}"
            )
        self.output_size = size


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """The mean of each window: (N, H, W, C) -> (N, *output_size, C); None keeps a size.

    Errors: ValueError for a wrong output_size and for input that is not (N, H, W, C).
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        check_images(x, self)
        return adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """The maximum of each window: (N, H, W, C) -> (N, *output_size, C); None keeps a size.

    The gradient goes to the first maximum, row by row. With return_indices the result is (values, indices);
    an index is row * W + column.

    Errors: ValueError for a wrong output_size and for input that is not (N, H, W, C).
    """

    def __init__(self, output_size: int | OutputSize, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def __call__(self, x: jax.Array) -> Any:  # an array, or two with return_indices
        check_images(x, self)
        return adaptive_max_pool2d(x, self.output_size, self.return_indices)
