"""Linear and Maxout."""

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.typing import DTypeLike

from flax_models.layers.init import fan_in_uniform
from flax_models.layers.ops.channels import broadcast_channels
from flax_models.layers.ops.products import matmul


class Linear(nnx.Module):
    """x @ weight + bias: (..., in_features) -> (..., out_features).

    weight is (in_features, out_features), the transpose of torch's. weight and bias are initialised as in
    torch: U(-1/sqrt(in_features), 1/sqrt(in_features)).

    Errors: ValueError for input with any other number of features.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.in_features, self.out_features, self.dtype = in_features, out_features, dtype
        init = fan_in_uniform(in_features)
        self.weight = nnx.Param(init(rngs.params(), (in_features, out_features), param_dtype))
        self.bias = nnx.Param(init(rngs.params(), (out_features,), param_dtype)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"{type(self).__name__} expects (..., {self.in_features}) input, got shape {x.shape}"
            )
        bias = self.bias[...] if self.bias is not None else None
        x, weight, bias = promote_dtype((x, self.weight[...], bias), dtype=self.dtype)
        y = matmul(x.reshape(-1, self.in_features), weight).reshape(*x.shape[:-1], weight.shape[1])
        return y if bias is None else y + broadcast_channels(bias, y.shape)


class Maxout(Linear):
    """The largest of `pieces` linear maps: (..., in_features) -> (..., out_features).

    weight is (in_features, out_features * pieces), bias (out_features * pieces,). The pieces of one output
    are adjacent. Both are initialised as in Linear. The gradient goes to the first largest piece. Goodfellow
    et al. 2013. torch.nn has no Maxout; the twin is `torch_models.layers.Maxout`.

    Errors: ValueError for fewer than one piece, and for input with any other number of features.
    """

    def __init__(
        self, in_features: int, out_features: int, pieces: int,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs,
    ):  # fmt: skip
        if pieces < 1:
            raise ValueError(f"Maxout needs at least one piece, got {pieces}")
        super().__init__(in_features, out_features * pieces, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.pieces = pieces

    def __call__(self, x: jax.Array) -> jax.Array:
        y = super().__call__(x).reshape(*x.shape[:-1], -1, self.pieces)
        first = jnp.argmax(y, axis=-1, keepdims=True)
        return jnp.take_along_axis(y, first, axis=-1).squeeze(-1)
