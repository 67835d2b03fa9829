"""Embedding: a table of vectors, one for each index."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike


class Embedding(nnx.Module):
    """The rows of a table at integer indices: (...) -> (..., embedding_dim).

    weight is (num_embeddings, embedding_dim), as torch's, drawn from N(0, 1). The row padding_idx (negative:
    counted from the end) is initialised with zeros and gets no gradient. An index outside the table gives
    nan, because a compiled computation cannot raise an error.

    Errors: ValueError for a padding_idx outside the table and for indices that are not integers.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs,
    ):  # fmt: skip
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx={padding_idx} is not one of {num_embeddings} rows")
        self.num_embeddings, self.embedding_dim, self.dtype = num_embeddings, embedding_dim, dtype
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        weight = jax.random.normal(rngs.params(), (num_embeddings, embedding_dim), param_dtype)
        if padding_idx is not None:
            weight = weight.at[padding_idx].set(0)
        self.weight = nnx.Param(weight)

    def __call__(self, indices: jax.Array) -> jax.Array:
        indices = jnp.asarray(indices)
        if not jnp.issubdtype(indices.dtype, jnp.integer):
            raise ValueError(f"Embedding expects integer indices, got {indices.dtype}")
        rows = self.weight[...].at[indices].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        if self.padding_idx is not None:
            rows = jnp.where((indices == self.padding_idx)[..., None], jax.lax.stop_gradient(rows), rows)
        return rows.astype(self.dtype or rows.dtype)
