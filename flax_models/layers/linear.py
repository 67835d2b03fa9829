"""Linear."""

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from flax_models.layers.init import fan_in_uniform


class Linear(nnx.Module):
    """x @ weight + bias: (..., in_features) -> (..., out_features).

    weight is (in_features, out_features), the transpose of torch's. Initialised as torch does:
    U(-1/sqrt(in_features), 1/sqrt(in_features)), the bias too.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True,
        *, dtype=None, param_dtype=jnp.float32, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.in_features, self.out_features, self.dtype = in_features, out_features, dtype
        init = fan_in_uniform(in_features)
        self.weight = nnx.Param(init(rngs.params(), (in_features, out_features), param_dtype))
        self.bias = nnx.Param(init(rngs.params(), (out_features,), param_dtype)) if bias else None

    def __call__(self, x):
        bias = self.bias[...] if self.bias is not None else None
        x, weight, bias = promote_dtype((x, self.weight[...], bias), dtype=self.dtype)
        y = x @ weight
        return y if bias is None else y + bias
