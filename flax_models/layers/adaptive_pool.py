"""Pooling to a given size: output i covers the rows floor(i*H/OH) to ceil((i+1)*H/OH)."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from flax_models.layers.pool import check_picture
from flax_models.layers.pool_ops import Windows, max_pool2d, max_pool2d_indices
from flax_models.layers.resize_ops import resize

AdaptiveSize = int | tuple[int | None, int | None]


class _AdaptivePool2d(nnx.Module):
    def __init__(self, output_size: AdaptiveSize):
        size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size or ())
        if len(size) != 2 or any(n is not None and n < 1 for n in size):
            raise ValueError(
                f"output_size must be a positive int or a pair of them or None, got {output_size}"
            )
        self.output_size = size

    def _spans(self, x) -> list[tuple[np.ndarray, np.ndarray]]:
        """For height and width: where each window begins and where it ends."""
        check_picture(x, self)
        spans = []
        for size, wanted in zip(x.shape[1:3], self.output_size, strict=True):
            output = size if wanted is None else wanted
            i = np.arange(output)
            spans.append((i * size // output, -(-(i + 1) * size // output)))
        return spans


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """The mean of each window: (N, H, W, C) -> (N, *output_size, C), where None keeps a size.

    Errors: ValueError for a wrong output_size and for input that is no picture.
    """

    def __call__(self, x):
        averages = []
        for size, (start, end) in zip(x.shape[1:3], self._spans(x), strict=True):
            place = np.arange(size)
            inside = (place >= start[:, None]) & (place < end[:, None])
            averages.append(inside / (end - start)[:, None])
        return resize(x, *averages)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """The maximum of each window: (N, H, W, C) -> (N, *output_size, C), where None keeps a size.

    The gradient goes to the first maximum, row by row. With return_indices the result is (values,
    indices), a place being row * W + column.

    Errors: ValueError for a wrong output_size and for input that is no picture.
    """

    def __init__(self, output_size: AdaptiveSize, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def __call__(self, x):
        spans = self._spans(x)
        if windows := _even_windows(spans):  # which max_pool2d does several times faster
            y = max_pool2d(x, windows)
            return (y, max_pool2d_indices(x, windows)) if self.return_indices else y
        rows, columns = (_places(start, end) for start, end in spans)  # (OH, K), (OW, L)
        places = rows[:, None, :, None] * x.shape[2] + columns[None, :, None, :]  # (OH, OW, K, L)
        places = places.reshape(*places.shape[:2], -1)
        n, _, _, c = x.shape
        values = x.reshape(n, -1, c)[:, places]  # (N, OH, OW, K*L, C)
        first = jnp.argmax(values, axis=3, keepdims=True)
        y = jnp.take_along_axis(values, first, axis=3).squeeze(3)
        if not self.return_indices:
            return y
        places = jnp.asarray(places, jnp.int32)[None, ..., None]
        return y, jnp.take_along_axis(places, first, axis=3).squeeze(3)


def _even_windows(spans) -> Windows | None:
    """The windows as those of a plain pool, where all have one size and one distance."""
    sizes, strides = [], []
    for start, end in spans:
        stride = start[1] if len(start) > 1 else end[0]
        if (start != stride * np.arange(len(start))).any() or (end - start != end[0]).any():
            return None
        sizes.append(int(end[0]))
        strides.append(int(stride))
    return Windows((sizes[0], sizes[1]), (strides[0], strides[1]), ((0, 0), (0, 0)), (1, 1))


def _places(start, end):
    """(windows, longest): the places of each window, its last one repeated where it is shorter."""
    return np.minimum(start[:, None] + np.arange((end - start).max()), end[:, None] - 1)
