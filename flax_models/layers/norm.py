"""Batch and instance normalisation with torch's running statistics."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from flax_models.layers.ops.channels import broadcast_channels
from flax_models.layers.ops.dtypes import at_least_float32
from flax_models.layers.ops.norm import batch_standardize, group_mean, standardize


class _RunningNorm(nnx.Module):
    """The variables and the formula that batch and instance normalisation share."""

    ranks: tuple[int, ...]

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool,
        track_running_stats: bool, *, dtype: DTypeLike | None, param_dtype: DTypeLike,
    ):  # fmt: skip
        self.num_features, self.eps, self.momentum, self.dtype = num_features, eps, momentum, dtype
        self.weight = nnx.Param(jnp.ones(num_features, param_dtype)) if affine else None
        self.bias = nnx.Param(jnp.zeros(num_features, param_dtype)) if affine else None
        self.track_running_stats = track_running_stats
        if track_running_stats:
            self.running_mean = nnx.BatchStat(jnp.zeros(num_features, param_dtype))
            self.running_var = nnx.BatchStat(jnp.ones(num_features, param_dtype))
            self.num_batches_tracked = nnx.BatchStat(jnp.zeros((), jnp.int32))
        self.use_running_average = False  # module.train() and module.eval() set it

    def __call__(self, x: jax.Array) -> jax.Array:
        if x.ndim not in self.ranks or x.shape[-1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__} expects {' or '.join(f'{rank}-D' for rank in self.ranks)} input with "
                f"{self.num_features} channels last, got shape {x.shape}"
            )
        y = x.astype(at_least_float32(x.dtype))  # statistics in float32 at least
        ones = jnp.ones(self.num_features, y.dtype)
        weight = self.weight[...].astype(y.dtype) if self.weight is not None else ones
        bias = self.bias[...].astype(y.dtype) if self.bias is not None else jnp.zeros_like(ones)
        if self.use_running_average and self.track_running_stats:
            scale = lax.rsqrt(self.running_var[...] + self.eps) * weight
            centred = y - broadcast_channels(self.running_mean[...], y.shape)
            y = centred * broadcast_channels(scale, y.shape) + broadcast_channels(bias, y.shape)
        else:
            y = self._standardize(y, weight, bias)
        return y.astype(self.dtype or x.dtype)

    def _standardize(self, x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        """x standardised by its own statistics, times weight plus bias; updates the running statistics."""
        raise NotImplementedError

    def _update_running_statistics(
        self, momentum: float | jax.Array, mean: jax.Array, unbiased_var: jax.Array
    ) -> None:
        self.running_mean[...] = (1 - momentum) * self.running_mean[...] + momentum * mean
        self.running_var[...] = (1 - momentum) * self.running_var[...] + momentum * unbiased_var


class _BatchNorm(_RunningNorm):
    """Normalises each channel (the last axis) over all other axes.

    In training it normalises with the batch's mean and *biased* variance. The running statistics are updated
    by `momentum` towards the batch's mean and *unbiased* variance, and the batch is counted in
    num_batches_tracked. With momentum=None the running statistics are the mean over all batches. In
    evaluation (`module.eval()`) it normalises with the running statistics. Without them
    (track_running_stats=False) it always normalises with the batch's statistics. Ioffe & Szegedy 2015.

    Errors: ValueError for a wrong number of axes or channels, and in training for a single value per channel,
    whose unbiased variance does not exist.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs | None = None,
    ):  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, dtype=dtype, param_dtype=param_dtype
        )

    def _standardize(self, x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        count = math.prod(x.shape[:-1])
        if count <= 1 and not self.use_running_average:
            raise ValueError(
                f"BatchNorm needs more than 1 value per channel in training, got shape {x.shape}"
            )
        y, mean, var = batch_standardize(x, weight, bias, self.eps)
        if self.track_running_stats:
            self.num_batches_tracked[...] += 1
            momentum = self.momentum
            if momentum is None:
                momentum = 1 / self.num_batches_tracked[...].astype(self.running_mean.dtype)
            self._update_running_statistics(momentum, mean, var * (count / (count - 1)))
        return y


class BatchNorm1d(_BatchNorm):
    __doc__ = f"Batch normalisation of (N, C) or (N, L, C).\n\n    {_BatchNorm.__doc__}"
    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    __doc__ = f"Batch normalisation of (N, H, W, C).\n\n    {_BatchNorm.__doc__}"
    ranks = (4,)


class InstanceNorm2d(_RunningNorm):
    """Normalises each channel of each image: (N, H, W, C) -> (N, H, W, C).

    With track_running_stats, the running statistics are updated in training by `momentum` towards the images'
    average mean and unbiased variance, and evaluation normalises with them. As in torch, num_batches_tracked
    stays 0, and momentum=None means 0. Ulyanov et al. 2016.

    Errors: ValueError for a wrong number of axes or channels (without affine, torch only warns), and for a
    single value per channel and image, unless the running statistics are used.
    """

    ranks = (4,)

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = False, track_running_stats: bool = False,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs | None = None,
    ):  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, dtype=dtype, param_dtype=param_dtype
        )

    def _standardize(self, x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        count = x.shape[1] * x.shape[2]
        if count <= 1:
            raise ValueError(f"InstanceNorm2d needs more than 1 pixel in an image, got shape {x.shape}")
        pixels = x.reshape(x.shape[0], count, -1)
        mean = group_mean(pixels, x.shape[3])  # (N, 1, C)
        var = group_mean(jnp.square(pixels - mean), x.shape[3])
        if self.track_running_stats:
            average_mean, average_var = mean.mean((0, 1)), var.mean((0, 1)) * (count / (count - 1))
            self._update_running_statistics(self.momentum or 0.0, average_mean, average_var)
        y = standardize(pixels, mean, lax.rsqrt(var + self.eps), x.shape[3]).reshape(x.shape)
        return y * broadcast_channels(weight, x.shape) + broadcast_channels(bias, x.shape)
