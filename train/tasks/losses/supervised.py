"""Losses with exactly the values of torch.nn's losses: one value per example, which a task averages or sums.

Each takes the outputs of the model and the targets, both with the batch axis first, and returns (N,). Their
twins are in `torch_models/steps/`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

MIN_DENOMINATOR = float(np.float32(1e-12))  # torch stores it in float32, for float64 inputs too


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log softmax(logits) at the labels: (N, C), (N,) int -> (N,)."""
    _check_labels(logits, labels)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def nll(log_probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """-log_probabilities at the labels: (N, C), (N,) int -> (N,)."""
    _check_labels(log_probabilities, labels)
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]


def bce(probabilities: jax.Array, targets: jax.Array) -> jax.Array:
    """-y log p - (1 - y) log(1 - p), the mean over an example's values: (N, ...) twice -> (N,)."""
    _check_targets(probabilities, targets)
    return _reduce_each_example(
        binary_cross_entropy(probabilities, targets.astype(probabilities.dtype)), jnp.mean
    )


def mse(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The squared error, the mean over an example's values: (N, ...) twice -> (N,)."""
    _check_targets(outputs, targets)
    return _reduce_each_example(jnp.square(outputs - targets), jnp.mean)


def sse(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The squared error, the sum over an example's values: (N, ...) twice -> (N,)."""
    _check_targets(outputs, targets)
    return _reduce_each_example(jnp.square(outputs - targets), jnp.sum)


@jax.custom_jvp
def binary_cross_entropy(p: jax.Array, y: jax.Array) -> jax.Array:
    """torch's BCELoss, value by value: logarithms are at least -100, the gradient's denominator 1e-12."""
    return (y - 1) * jnp.maximum(jnp.log1p(-p), -100) - y * jnp.maximum(jnp.log(p), -100)


@binary_cross_entropy.defjvp
def _binary_cross_entropy_jvp(primals, tangents):
    (p, y), (dp, dy) = primals, tangents
    gradient = (p - y) / jnp.maximum((1 - p) * p, MIN_DENOMINATOR)
    of_target = jnp.maximum(jnp.log1p(-p), -100) - jnp.maximum(jnp.log(p), -100)
    return binary_cross_entropy(p, y), gradient * dp + of_target * dy


def class_probabilities(outputs: jax.Array, loss: str) -> jax.Array:
    """The probability of every class, (N, C), for the outputs of a classifier. loss: its loss in training."""
    if loss == "bce":  # one probability (N, 1), that of the second class
        return jnp.concatenate([1 - outputs, outputs], axis=1)
    return jnp.exp(outputs) if loss == "nll" else jax.nn.softmax(outputs)


def predicted_class(outputs: jax.Array) -> jax.Array:
    """The class of the largest of the outputs (N, C), or of one probability (N, 1) at 0.5: (N,)."""
    return outputs[..., 0] >= 0.5 if outputs.shape[-1] == 1 else outputs.argmax(-1)


def is_correct(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Whether the predicted class of an example is its label: (N,) bool."""
    if outputs.shape[-1] == 1:
        return predicted_class(outputs) == (labels >= 0.5).reshape(-1)
    return predicted_class(outputs) == labels


def _check_targets(outputs: jax.Array, targets: jax.Array) -> None:
    """ValueError for targets of any other shape than the outputs, which would broadcast."""
    if outputs.shape != targets.shape:
        raise ValueError(f"the outputs have the shape {outputs.shape}, and the targets {targets.shape}")


def _check_labels(outputs: jax.Array, labels: jax.Array) -> None:
    """ValueError for labels that are not one integer per example."""
    if labels.shape != outputs.shape[:-1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"outputs of the shape {outputs.shape} need integer labels of the shape {outputs.shape[:-1]}, "
            f"got {labels.dtype} of {labels.shape}"
        )


def _reduce_each_example(values: jax.Array, reduce: Callable[..., jax.Array]) -> jax.Array:
    return reduce(values.reshape(values.shape[0], -1), axis=1)


PER_EXAMPLE = {"cross_entropy": cross_entropy, "nll": nll, "bce": bce, "mse": mse, "sse": sse}
SUMMED = {"sse"}  # the losses that a task sums over the batch; it averages the others
