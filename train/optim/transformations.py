"""torch's optimizers as optax transformations: `to_optax(config)`.

The meaning and the order of arithmetic are torch's. Source: the documentation of torch.optim.

The state of an optimizer is one named tuple. Its fields have the names of the keys of torch's state, so that
it is converted by name. torch has no keys for the fields in `jax_only`. A field that is not in use is None.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from train.optim import configs
from train.optim.arithmetic import as_float, bias_correction, full_like, lerp, map_trees, scale
from train.optim.schedules import Schedule

STATES: list[type] = []
"""The state class of every optimizer here."""
_TRANSFORMATIONS: dict[type[configs.Optimizer], Callable[..., optax.GradientTransformation]] = {}


def to_optax(config: configs.Optimizer, lr: Schedule | None = None) -> optax.GradientTransformation:
    """The optax transformation that computes what the torch optimizer of this config computes.

    lr: a schedule, a function of the 0-based step, in place of the config's rate.
    Errors: ValueError if the update needs the parameters and is called without them.
    """
    return _TRANSFORMATIONS[type(config)](config, lr)


def _implements(*classes: type[configs.Optimizer], state: type) -> Callable[[Any], Any]:
    """Registers the decorated function for these configs, and its state class."""

    def register(function: Any) -> Any:
        STATES.append(state)
        for cls in classes:
            _TRANSFORMATIONS[cls] = function
        return function

    return register


class SGDState(NamedTuple):
    """The state of SGD. `step` is kept only if a schedule or dampening needs it; torch has no such key."""

    step: jax.Array | None
    momentum_buffer: optax.Updates | None

    jax_only = ("step",)


@_implements(configs.SGD, state=SGDState)
def _sgd(config: configs.SGD, lr: Schedule | None) -> optax.GradientTransformation:
    """The buffer is g on the first step, then momentum * buffer + (1 - dampening) * g."""
    momentum, dampening = config.momentum, config.dampening
    # Without dampening, the first step needs no special case: it starts from a buffer of zeros.
    needs_step = lr is not None or (momentum != 0 and dampening != 0)

    def init(params: Any) -> Any:
        return SGDState(_zero() if needs_step else None, full_like(params) if momentum else None)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        grads = _apply_sign_and_decay(updates, params, config, config.weight_decay)
        buffer, direction = None, grads
        if momentum:
            # The weight of the gradient in the buffer.
            weight = jnp.where(state.step == 0, 1.0, 1 - dampening) if dampening else 1.0
            buffer = map_trees(lambda b, g: momentum * b + weight * g, state.momentum_buffer, grads)
            direction = map_trees(lambda g, b: g + momentum * b, grads, buffer) if config.nesterov else buffer
        step = state.step + 1 if needs_step else None
        return scale(direction, -_rate(config, lr, state.step)), SGDState(step, buffer)

    return optax.GradientTransformation(init, update)


class AdagradState(NamedTuple):
    """The state of Adagrad."""

    step: jax.Array
    sum: optax.Updates


@_implements(configs.Adagrad, state=AdagradState)
def _adagrad(config: configs.Adagrad, lr: Schedule | None) -> optax.GradientTransformation:
    """g / (sqrt(sum of g**2) + eps); the rate is divided by 1 + lr_decay * step."""

    def init(params: Any) -> Any:
        return AdagradState(_zero(), full_like(params, config.initial_accumulator_value))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        grads = _apply_sign_and_decay(updates, params, config, config.weight_decay)
        total = map_trees(lambda s, g: s + g * g, state.sum, grads)
        direction = map_trees(lambda g, s: g / (jnp.sqrt(s) + config.eps), grads, total)
        rate = _rate(config, lr, state.step) / (1 + as_float(state.step) * config.lr_decay)
        return scale(direction, -rate), AdagradState(state.step + 1, total)

    return optax.GradientTransformation(init, update)


class RMSpropState(NamedTuple):
    """The state of RMSprop."""

    step: jax.Array
    square_avg: optax.Updates
    momentum_buffer: optax.Updates | None
    grad_avg: optax.Updates | None


@_implements(configs.RMSprop, state=RMSpropState)
def _rmsprop(config: configs.RMSprop, lr: Schedule | None) -> optax.GradientTransformation:
    """g / (sqrt(v) + eps). The momentum buffer does not include the rate."""
    alpha, momentum = config.alpha, config.momentum

    def init(params: Any) -> Any:
        return RMSpropState(
            step=_zero(),
            square_avg=full_like(params),
            momentum_buffer=full_like(params) if momentum else None,
            grad_avg=full_like(params) if config.centered else None,
        )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        grads = _apply_sign_and_decay(updates, params, config, config.weight_decay)
        square_avg = map_trees(lambda v, g: alpha * v + (1 - alpha) * (g * g), state.square_avg, grads)
        grad_avg, buffer, variance = None, None, square_avg
        if config.centered:
            grad_avg = map_trees(lambda m, g: lerp(m, g, 1 - alpha), state.grad_avg, grads)
            variance = map_trees(lambda v, m: v - m * m, square_avg, grad_avg)
        direction = map_trees(lambda g, v: g / (jnp.sqrt(v) + config.eps), grads, variance)
        if momentum:
            direction = buffer = map_trees(lambda b, d: momentum * b + d, state.momentum_buffer, direction)
        return scale(direction, -_rate(config, lr, state.step)), RMSpropState(
            state.step + 1, square_avg, buffer, grad_avg
        )

    return optax.GradientTransformation(init, update)


class AdamState(NamedTuple):
    """The state of Adam and AdamW."""

    step: jax.Array
    exp_avg: optax.Updates
    exp_avg_sq: optax.Updates
    max_exp_avg_sq: optax.Updates | None


@_implements(configs.Adam, configs.AdamW, state=AdamState)
def _adam(config: configs.Adam, lr: Schedule | None) -> optax.GradientTransformation:
    """Adam adds weight_decay * params to the gradients before the moments.

    AdamW instead subtracts lr * weight_decay * params from the parameters.
    """
    beta1, beta2 = config.betas
    decoupled = isinstance(config, configs.AdamW)

    def init(params: Any) -> Any:
        maximum = full_like(params) if config.amsgrad else None
        return AdamState(_zero(), full_like(params), full_like(params), maximum)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        grads = _apply_sign_and_decay(updates, params, config, 0 if decoupled else config.weight_decay)
        step = state.step + 1
        exp_avg = map_trees(lambda m, g: lerp(m, g, 1 - beta1), state.exp_avg, grads)
        exp_avg_sq = map_trees(lambda v, g: beta2 * v + (1 - beta2) * (g * g), state.exp_avg_sq, grads)
        maximum, variance = None, exp_avg_sq
        if config.amsgrad:  # torch takes the maximum before the bias correction
            maximum = variance = map_trees(jnp.maximum, state.max_exp_avg_sq, exp_avg_sq)

        root = jnp.sqrt(bias_correction(beta2, step))
        rate = _rate(config, lr, state.step)
        step_size = rate / bias_correction(beta1, step)
        changes = map_trees(
            lambda m, v: -step_size * (m / (jnp.sqrt(v) / root + config.eps)), exp_avg, variance
        )
        if decoupled and config.weight_decay:
            _check_given(params)
            changes = map_trees(lambda u, p: u - rate * config.weight_decay * p, changes, params)
        return changes, AdamState(step, exp_avg, exp_avg_sq, maximum)

    return optax.GradientTransformation(init, update)


def _apply_sign_and_decay(grads: Any, params: Any, config: configs.Optimizer, weight_decay: float) -> Any:
    """The gradients, negated if the loss is maximised, with the weight decay added."""
    if config.maximize:
        grads = map_trees(jnp.negative, grads)
    if weight_decay:
        _check_given(params)
        grads = map_trees(lambda g, p: g + weight_decay * p, grads, params)
    return grads


def _rate(config: configs.Optimizer, lr: Schedule | None, step: Any) -> Any:
    """The learning rate of a step."""
    return config.lr if lr is None else lr(step)


def _zero() -> jax.Array:
    return jnp.zeros((), jnp.int32)


def _check_given(params: Any) -> None:
    if params is None:
        raise ValueError("weight_decay needs the parameters: call update(grads, state, params)")
