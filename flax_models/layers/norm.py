"""Batch and instance normalisation with torch's statistics, stored and not."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from flax_models.layers.channels import channel_sum, spread
from flax_models.layers.layer_norm import group_mean, standardized


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_standardized(x, weight, bias, eps: float):
    """(x standardised by channel, times weight plus bias; the mean and the biased variance, (C,)).

    In closed form the gradient of x needs the two sums that bias and weight need anyway, where the chain of
    steps needs six. Nothing is to be differentiated through the two statistics that come back.
    """
    return _batch_standardized_forward(x, weight, bias, eps)[0]


def _batch_standardized_forward(x, weight, bias, eps: float):
    count = math.prod(x.shape[:-1])
    mean = channel_sum(x, x.shape) / count
    centred = x - spread(mean, x.shape)
    var = channel_sum(jnp.square(centred), x.shape) / count  # E[x^2] - E[x]^2 would lose digits
    y = centred * spread(lax.rsqrt(var + eps) * weight, x.shape) + spread(bias, x.shape)
    return (y, mean, var), (x, mean, var, weight)


def _batch_standardized_backward(eps: float, saved, gradients):
    (x, mean, var, weight), (g, *_) = saved, gradients
    count = math.prod(x.shape[:-1])
    scale = lax.rsqrt(var + eps)
    unit = (x - spread(mean, x.shape)) * spread(scale, x.shape)
    bias_gradient, weight_gradient = channel_sum(g, x.shape), channel_sum(g * unit, x.shape)
    off = spread(bias_gradient / count, x.shape) + unit * spread(weight_gradient / count, x.shape)
    # Before a transposed convolution, XLA's CPU backend makes this product once more within the transposed
    # copy for its weight gradient: 140 ms at 32x32x64, batch 128, where the copy alone takes 23. Barriers, a
    # quotient and a loop of one were tried: all are gone before it fuses.
    return (g - off) * spread(scale * weight, x.shape), weight_gradient, bias_gradient


batch_standardized.defvjp(_batch_standardized_forward, _batch_standardized_backward)


class _RunningNorm(nnx.Module):
    """What normalisations over the picture share: the variables, and the formula."""

    ranks: tuple[int, ...]

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool,
        track_running_stats: bool, *, dtype, param_dtype,
    ):  # fmt: skip
        self.num_features, self.eps, self.momentum, self.dtype = num_features, eps, momentum, dtype
        self.weight = nnx.Param(jnp.ones(num_features, param_dtype)) if affine else None
        self.bias = nnx.Param(jnp.zeros(num_features, param_dtype)) if affine else None
        self.track_running_stats = track_running_stats
        if track_running_stats:
            self.running_mean = nnx.BatchStat(jnp.zeros(num_features, param_dtype))
            self.running_var = nnx.BatchStat(jnp.ones(num_features, param_dtype))
            self.num_batches_tracked = nnx.BatchStat(jnp.zeros((), jnp.int32))
        self.use_running_average = False  # set by module.train() and module.eval()

    def __call__(self, x):
        if x.ndim not in self.ranks or x.shape[-1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__} expects {' or '.join(f'{rank}-D' for rank in self.ranks)} input with "
                f"{self.num_features} channels last, got shape {x.shape}"
            )
        y = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # statistics in float32 at least
        ones = jnp.ones(self.num_features, y.dtype)
        weight = self.weight[...].astype(y.dtype) if self.weight is not None else ones
        bias = self.bias[...].astype(y.dtype) if self.bias is not None else jnp.zeros_like(ones)
        if self.use_running_average and self.track_running_stats:
            scale = lax.rsqrt(self.running_var[...] + self.eps) * weight
            y = (y - spread(self.running_mean[...], y.shape)) * spread(scale, y.shape) + spread(bias, y.shape)
        else:
            y = self._standardized(y, weight, bias)
        return y.astype(self.dtype or x.dtype)

    def _move_running_statistics(self, new, mean, unbiased_var):
        self.running_mean[...] = (1 - new) * self.running_mean[...] + new * mean
        self.running_var[...] = (1 - new) * self.running_var[...] + new * unbiased_var


class _BatchNorm(_RunningNorm):
    """Normalises each channel (the last axis) over all other axes.

    In training it normalises with the batch's mean and *biased* variance, and moves the running
    statistics by `momentum` towards the batch's mean and *unbiased* variance, counting the pass in
    num_batches_tracked; momentum=None makes the running statistics the mean over all batches.
    In evaluation (`module.eval()`) it normalises with the running statistics; without them
    (track_running_stats=False) always with the batch's. Ioffe & Szegedy 2015.

    Errors: ValueError for a wrong number of axes or channels, and in training for a single value
    per channel, whose unbiased variance does not exist.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True,
        *, dtype=None, param_dtype=jnp.float32, rngs: nnx.Rngs | None = None,
    ):  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, dtype=dtype, param_dtype=param_dtype
        )

    def _standardized(self, x, weight, bias):
        count = math.prod(x.shape[:-1])
        if count <= 1 and not self.use_running_average:
            raise ValueError(
                f"BatchNorm needs more than 1 value per channel in training, got shape {x.shape}"
            )
        y, mean, var = batch_standardized(x, weight, bias, self.eps)
        if self.track_running_stats:
            self.num_batches_tracked[...] += 1
            new = self.momentum
            if new is None:
                new = 1 / self.num_batches_tracked[...].astype(self.running_mean.dtype)
            self._move_running_statistics(new, mean, var * (count / (count - 1)))
        return y


class BatchNorm1d(_BatchNorm):
    __doc__ = f"Batch normalisation of (N, C) or (N, L, C).\n\n    {_BatchNorm.__doc__}"
    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    __doc__ = f"Batch normalisation of (N, H, W, C).\n\n    {_BatchNorm.__doc__}"
    ranks = (4,)


class InstanceNorm2d(_RunningNorm):
    """Normalises each channel of each picture: (N, H, W, C) -> (N, H, W, C).

    With track_running_stats it moves, in training, the running statistics by `momentum` towards the
    pictures' average mean and unbiased variance, and normalises with them in evaluation. Torch's
    oddities are kept: num_batches_tracked stays 0, and momentum=None means 0. Ulyanov et al. 2016.

    Errors: ValueError for a wrong number of axes or channels (torch, where affine is off, only
    warns), and for a single value per channel and picture, unless running statistics replace it.
    """

    ranks = (4,)

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = False, track_running_stats: bool = False,
        *, dtype=None, param_dtype=jnp.float32, rngs: nnx.Rngs | None = None,
    ):  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, dtype=dtype, param_dtype=param_dtype
        )

    def _standardized(self, x, weight, bias):
        count = x.shape[1] * x.shape[2]
        if count <= 1:
            raise ValueError(f"InstanceNorm2d needs more than 1 pixel in a picture, got shape {x.shape}")
        pixels = x.reshape(x.shape[0], count, -1)
        mean = group_mean(pixels, x.shape[3])  # (N, 1, C)
        var = group_mean(jnp.square(pixels - mean), x.shape[3])
        if self.track_running_stats:
            average_mean, average_var = mean.mean((0, 1)), var.mean((0, 1)) * (count / (count - 1))
            self._move_running_statistics(self.momentum or 0.0, average_mean, average_var)
        y = standardized(pixels, mean, lax.rsqrt(var + self.eps), x.shape[3]).reshape(x.shape)
        return y * spread(weight, x.shape) + spread(bias, x.shape)
