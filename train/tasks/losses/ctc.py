"""Connectionist temporal classification, with exactly the values and gradients of torch's CTCLoss.

Symbol 0 is the blank. A path names one symbol for every step. It reads as its symbols without repetitions,
and then without blanks. The loss of an example is -log of the probability of all paths that read as its
labels. A. Graves et al., "Connectionist temporal classification" (2006).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

BLANK = 0


def ctc(
    log_probabilities: jax.Array, labels: jax.Array, steps: jax.Array, lengths: jax.Array,
    zero_infinity: bool = False,
) -> jax.Array:  # fmt: skip
    """The loss of every example (N,), as F.ctc_loss with reduction "none".

    log_probabilities: (N, T, C), of the symbols at every step. labels: (N, L) int, from 1 to C - 1. steps:
    (N,) int, how many of the T steps count. lengths: (N,) int, how many of the L labels count.
    zero_infinity: an example whose labels need more steps than it has gets the loss 0 and no gradient, in
    place of inf and nan.

    The gradient is the one that torch returns: exp(log_probabilities) minus the probability of the symbol at
    the step, given the labels. This is the derivative with respect to logits before a log-softmax. It differs
    from the derivative with respect to the log-probabilities themselves by the first term, which a
    log-softmax below maps to zero.
    """
    if not labels.shape[1]:
        labels = jnp.pad(labels, ((0, 0), (0, 1)))  # the recursion needs a place for one
    losses: Any = _ctc(log_probabilities, labels, steps, lengths, zero_infinity)
    return losses


def mean_ctc(
    log_probabilities: jax.Array, labels: jax.Array, steps: jax.Array, lengths: jax.Array,
    zero_infinity: bool = False,
) -> jax.Array:  # fmt: skip
    """The mean over the examples of loss / number of labels, as torch's reduction "mean"; see `ctc`."""
    return per_label(ctc(log_probabilities, labels, steps, lengths, zero_infinity), lengths).mean()


def per_label(losses: jax.Array, lengths: jax.Array) -> jax.Array:
    """Losses (N,), each divided by the number of its labels; no labels count as one."""
    return losses / jnp.maximum(lengths, 1).astype(losses.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _ctc(
    log_probabilities: jax.Array, labels: jax.Array, steps: jax.Array, lengths: jax.Array, zero_infinity: bool
) -> jax.Array:
    return _forward(log_probabilities, labels, steps, lengths, zero_infinity)[0]


def _forward(
    log_probabilities: jax.Array, labels: jax.Array, steps: jax.Array, lengths: jax.Array, zero_infinity: bool
) -> tuple[jax.Array, tuple[Any, ...]]:
    symbols, emitted, skips, counted, final = _lattice(log_probabilities, labels, steps, lengths)
    start = jnp.full_like(emitted[0], -jnp.inf).at[:, 0].set(0)

    def step(alpha: jax.Array, inputs: Any) -> tuple[jax.Array, jax.Array]:
        emitted, counted = inputs
        new = _add_moves(alpha, skips, onwards=True) + emitted
        alpha = jnp.where(counted, new, alpha)
        return alpha, alpha

    last, alphas = lax.scan(step, start, (emitted, counted))
    losses = -_log_sum(jnp.where(final, last, -jnp.inf), axis=1)
    shown = jnp.where(jnp.isinf(losses), 0, losses) if zero_infinity else losses
    return shown, (log_probabilities, symbols, emitted, skips, counted, final, alphas, losses)


def _backward(zero_infinity: bool, residuals: tuple[Any, ...], cotangent: jax.Array) -> tuple[Any, ...]:
    log_probabilities, symbols, emitted, skips, counted, final, alphas, losses = residuals
    start = jnp.where(final, jnp.zeros((), emitted.dtype), -jnp.inf)

    def step(beta: jax.Array, inputs: Any) -> tuple[jax.Array, jax.Array]:
        emitted, counted = inputs
        new = _add_moves(beta + emitted, skips, onwards=False)
        return jnp.where(counted, new, beta), beta  # the probability of what follows the step

    _, betas = lax.scan(step, start, (emitted, counted), reverse=True)
    possible = jnp.isfinite(losses)
    of_places = jnp.exp(alphas + betas + jnp.where(possible, losses, 0)[:, None])  # (T, N, S)
    classes = jax.nn.one_hot(symbols, log_probabilities.shape[2], dtype=emitted.dtype)
    of_symbols = jnp.einsum("tns,nsc->ntc", of_places, classes)
    gradient = jnp.exp(log_probabilities) - of_symbols
    gradient = jnp.where(possible[:, None, None], gradient, 0 if zero_infinity else jnp.nan)
    gradient = jnp.where(counted.swapaxes(0, 1), gradient, 0)
    return gradient * cotangent[:, None, None], None, None, None


_ctc.defvjp(_forward, _backward)


def _lattice(
    log_probabilities: jax.Array, labels: jax.Array, steps: jax.Array, lengths: jax.Array
) -> tuple[jax.Array, ...]:
    """The S = 2 L + 1 places of a path: the labels with a blank before, between and after them.

    Returns the symbols of the places (N, S), their log-probabilities at every step (T, N, S), whether a path
    may skip the blank before a place (N, S), whether a step counts (T, N, 1), and whether a path may end at a
    place (N, S).
    """
    count, size = labels.shape
    symbols = jnp.full((count, 2 * size + 1), BLANK, labels.dtype).at[:, 1::2].set(labels)
    emitted = jnp.take_along_axis(log_probabilities, symbols[:, None], axis=2).swapaxes(0, 1)
    differs = jnp.pad(symbols[:, 2:] != symbols[:, :-2], ((0, 0), (2, 0)))
    places = jnp.arange(2 * size + 1, dtype=lengths.dtype)
    last = 2 * lengths[:, None]
    final = (places == last) | (places == last - 1)
    counted = (jnp.arange(log_probabilities.shape[1], dtype=steps.dtype)[:, None] < steps)[..., None]
    return symbols, emitted, differs & (symbols != BLANK), counted, final


def _add_moves(scores: jax.Array, skips: jax.Array, onwards: bool) -> jax.Array:
    """log of the summed probabilities (N, S) of staying, of moving one place, and of skipping a blank.

    onwards: towards the end of the labels, or else against the direction of the moves.
    """
    if onwards:
        one = jnp.pad(scores[:, :-1], ((0, 0), (1, 0)), constant_values=-jnp.inf)
        two = jnp.pad(scores[:, :-2], ((0, 0), (2, 0)), constant_values=-jnp.inf)
        two = jnp.where(skips, two, -jnp.inf)
    else:
        one = jnp.pad(scores[:, 1:], ((0, 0), (0, 1)), constant_values=-jnp.inf)
        two = jnp.where(skips, scores, -jnp.inf)
        two = jnp.pad(two[:, 2:], ((0, 0), (0, 2)), constant_values=-jnp.inf)
    return _log_sum(jnp.stack([scores, one, two]), axis=0)


def _log_sum(scores: jax.Array, axis: int) -> jax.Array:
    """log of the sum of exp(scores); with derivatives of 0 where all scores, and so the result, are -inf."""
    largest = scores.max(axis, keepdims=True)
    shift = lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))  # -inf - -inf would be nan
    total = jnp.exp(scores - shift).sum(axis)
    logarithm = jnp.log(jnp.where(total > 0, total, 1)) + shift.squeeze(axis)
    return jnp.where(total > 0, logarithm, -jnp.inf)
