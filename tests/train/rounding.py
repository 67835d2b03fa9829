"""Bounds for numbers that differ by rounding alone, small numbers included.

`convert.certificate.tolerances` bounds a difference by the largest value of the array. A learning rate or a
clipped gradient has to keep its digits where it is small too.
"""

from typing import Any

import jax.numpy as jnp


def rounding(dtype: Any, operations: int) -> float:
    """The relative error that so many rounded operations can make."""
    return operations * float(jnp.finfo(dtype).eps)
