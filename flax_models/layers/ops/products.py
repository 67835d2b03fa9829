"""The matrix product of rows and a weight, and its two transposes. Each is differentiated by the other two.

A product y = matmul(x, w) = x @ w is linear in x and in w:

    matmul(x, w)           -> y     x @ w
    matmul_input(y, w)     -> x     y @ w.T, its transpose in x: the input gradient
    matmul_weight(x, y)    -> w     x.T @ y, its transpose in w: the weight gradient

Shapes: x (N, I), w (I, K), y (N, K).
"""

from collections.abc import Callable

import jax
from jax import lax


@jax.custom_vjp
def matmul(x: jax.Array, w: jax.Array) -> jax.Array:
    """x @ w: (N, I), (I, K) -> (N, K)."""
    return x @ w


@jax.custom_vjp
def matmul_input(y: jax.Array, w: jax.Array) -> jax.Array:
    """y @ w.T: (N, K), (I, K) -> (N, I).

    XLA's CPU backend multiplies slowly by a transposed matrix. With few rows it is 2 to 5 times faster to
    transpose the rows and the result (128 rows by 4608x512: 21 ms against 8). With many rows it is slower.
    """
    if y.shape[0] >= w.shape[0]:
        return y @ w.T
    return lax.platform_dependent(y, w, cpu=_in_transposed_order, default=lambda y, w: y @ w.T)


def _in_transposed_order(y: jax.Array, w: jax.Array) -> jax.Array:
    # The barriers keep XLA from folding the transpositions into the product.
    return lax.optimization_barrier(w @ lax.optimization_barrier(y.T)).T


@jax.custom_vjp
def matmul_weight(x: jax.Array, y: jax.Array) -> jax.Array:
    """x.T @ y: (N, I), (N, K) -> (I, K)."""
    return x.T @ y


def _forward(op: Callable[..., jax.Array]) -> Callable[..., tuple]:
    return lambda a, b: (op(a, b), (a, b))


matmul.defvjp(
    _forward(matmul),
    lambda saved, y: (matmul_input(y, saved[1]), matmul_weight(saved[0], y)),
)
matmul_input.defvjp(
    _forward(matmul_input),
    lambda saved, x: (matmul(x, saved[1]), matmul_weight(x, saved[0])),
)
matmul_weight.defvjp(
    _forward(matmul_weight),
    lambda saved, w: (matmul_input(saved[1], w), matmul(saved[0], w)),
)
