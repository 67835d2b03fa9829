"""The dtype in which sums are computed."""

from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike


def at_least_float32(dtype: DTypeLike) -> Any:
    """float64 for float64, float32 for every other dtype, also under jax's strict dtype promotion."""
    return jnp.float64 if jnp.dtype(dtype) == jnp.float64 else jnp.float32
