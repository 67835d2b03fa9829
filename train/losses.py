"""torch.nn's losses, exactly: one number for every example, which a task averages or adds up.

Each takes what the model put out and what it should have been, both with the batch axis first, and
gives (N,). Their twins stand in `torch_models/steps/`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

LEAST = float(np.float32(1e-12))  # torch holds it in float32, for float64 too


def cross_entropy(logits, labels):
    """-log softmax(logits) at the labels: (N, C), (N,) int -> (N,)."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def nll(log_probabilities, labels):
    """-log_probabilities at the labels: (N, C), (N,) int -> (N,)."""
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]


def bce(probabilities, targets):
    """-y log p - (1 - y) log(1 - p), the mean over an example's values: (N, ...) twice -> (N,)."""
    return _over_examples(binary_cross_entropy(probabilities, targets.astype(probabilities.dtype)), jnp.mean)


def mse(outputs, targets):
    """The squared error, the mean over an example's values: (N, ...) twice -> (N,)."""
    return _over_examples(jnp.square(outputs - targets), jnp.mean)


def sse(outputs, targets):
    """The squared error, the sum over an example's values: (N, ...) twice -> (N,)."""
    return _over_examples(jnp.square(outputs - targets), jnp.sum)


@jax.custom_jvp
def binary_cross_entropy(p, y):
    """torch's BCELoss, value by value: its logarithms end at -100, its slope's denominator at 1e-12."""
    return (y - 1) * jnp.maximum(jnp.log1p(-p), -100) - y * jnp.maximum(jnp.log(p), -100)


@binary_cross_entropy.defjvp
def _binary_cross_entropy_jvp(primals, tangents):
    (p, y), (dp, dy) = primals, tangents
    slope = (p - y) / jnp.maximum((1 - p) * p, LEAST)
    of_target = jnp.maximum(jnp.log1p(-p), -100) - jnp.maximum(jnp.log(p), -100)
    return binary_cross_entropy(p, y), slope * dp + of_target * dy


def hits(outputs, labels):
    """Whether an example's largest value, or its one probability at threshold 0.5, is right: (N,) bool."""
    if outputs.shape[-1] == 1:
        return ((outputs >= 0.5) == (labels >= 0.5)).reshape(-1)
    return outputs.argmax(-1) == labels


def _over_examples(values, reduce):
    return reduce(values.reshape(values.shape[0], -1), axis=1)


PER_EXAMPLE = {"cross_entropy": cross_entropy, "nll": nll, "bce": bce, "mse": mse, "sse": sse}
SUMMED = {"sse"}  # over the batch; the others are averaged
