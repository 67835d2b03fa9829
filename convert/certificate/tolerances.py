"""The tolerances; no other file contains one.

A difference is max|a - b| / max(1, max|b|), on the CPU, with the highest matmul precision. Float64 is the
strict test: its rounding errors are too small to hide a difference between the implementations.
"""

from typing import NamedTuple

import numpy as np


class Tolerances(NamedTuple):
    """The largest difference that each check allows.

    forward: for outputs, in evaluation and training mode, and for buffers. gradient: for the gradients of
    inputs and of every parameter. steps: for parameters, buffers and moments after 20 optimizer steps; None
    if only losses are checked. losses: for every loss of those steps.
    """

    forward: float
    gradient: float
    steps: float | None
    losses: float
    dream: float


TOLERANCES = {
    "float64": Tolerances(forward=1e-12, gradient=1e-11, steps=1e-10, losses=1e-10, dream=1e-12),
    "float32": Tolerances(forward=1e-5, gradient=1e-4, steps=None, losses=1e-3, dream=1e-4),
}


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """max|a - b| / max(1, max|b|); infinite if shapes differ or a value in either array is not finite."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        return float("inf")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    if not a.size:
        return 0.0
    with np.errstate(over="ignore"):  # finite values of opposite sign may be an infinite distance apart
        return float(np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(b)))))
