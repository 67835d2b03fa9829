"""torch's optimizers, learning-rate schedules and gradient clipping, exactly, as optax transformations.

Names, arguments, defaults and order of arithmetic are torch's (source: the documentation of torch.optim,
torch.optim.lr_scheduler and torch.nn.utils). `lr` is a number or a schedule, a function of the 0-based step.

The state of an optimizer is one named tuple whose fields are the keys of torch's state, so that it can be
translated by name; a field that is not in use is None.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class SGDState(NamedTuple):
    step: jax.Array | None  # torch keeps none: only where a schedule or dampening asks for it
    momentum_buffer: optax.Updates | None


class AdagradState(NamedTuple):
    step: jax.Array
    sum: optax.Updates


class RMSpropState(NamedTuple):
    step: jax.Array
    square_avg: optax.Updates
    momentum_buffer: optax.Updates | None
    grad_avg: optax.Updates | None


class AdamState(NamedTuple):
    step: jax.Array
    exp_avg: optax.Updates
    exp_avg_sq: optax.Updates
    max_exp_avg_sq: optax.Updates | None


def sgd(lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *, maximize=False):
    """torch.optim.SGD: buf = g on the first step, then momentum * buf + (1 - dampening) * g."""
    _check_not_negative(lr=lr, momentum=momentum, weight_decay=weight_decay)
    if nesterov and (momentum == 0 or dampening != 0):
        raise ValueError(
            f"nesterov needs a momentum and no dampening, got momentum={momentum}, dampening={dampening}"
        )
    # Without dampening the first step is like the others, on a buffer of zeros.
    needs_step = callable(lr) or (momentum != 0 and dampening != 0)

    def init(params):
        return SGDState(_zero() if needs_step else None, _full_like(params) if momentum else None)

    def update(grads, state, params=None):
        grads = _signed_and_decayed(grads, params, maximize, weight_decay)
        buffer, direction = None, grads
        if momentum:
            # weight of the gradient in the buffer
            weight = jnp.where(state.step == 0, 1.0, 1 - dampening) if dampening else 1.0
            buffer = _map(lambda b, g: momentum * b + weight * g, state.momentum_buffer, grads)
            direction = _map(lambda g, b: g + momentum * b, grads, buffer) if nesterov else buffer
        step = state.step + 1 if needs_step else None
        return _scale(direction, -_value(lr, state.step)), SGDState(step, buffer)

    return optax.GradientTransformation(init, update)


def adagrad(
    lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, *, maximize=False
):  # fmt: skip
    """torch.optim.Adagrad: g / (sqrt(sum of g**2) + eps), the rate divided by 1 + lr_decay * step."""
    _check_not_negative(
        lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value, eps=eps,
    )  # fmt: skip

    def init(params):
        return AdagradState(_zero(), _full_like(params, initial_accumulator_value))

    def update(grads, state, params=None):
        grads = _signed_and_decayed(grads, params, maximize, weight_decay)
        total = _map(lambda s, g: s + g * g, state.sum, grads)
        direction = _map(lambda g, s: g / (jnp.sqrt(s) + eps), grads, total)
        rate = _value(lr, state.step) / (1 + state.step * lr_decay)
        return _scale(direction, -rate), AdagradState(state.step + 1, total)

    return optax.GradientTransformation(init, update)


def rmsprop(
    lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, *, maximize=False
):  # fmt: skip
    """torch.optim.RMSprop: g / (sqrt(v) + eps); the momentum buffer excludes the rate."""
    _check_not_negative(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)

    def init(params):
        return RMSpropState(
            step=_zero(),
            square_avg=_full_like(params),
            momentum_buffer=_full_like(params) if momentum else None,
            grad_avg=_full_like(params) if centered else None,
        )

    def update(grads, state, params=None):
        grads = _signed_and_decayed(grads, params, maximize, weight_decay)
        square_avg = _map(lambda v, g: alpha * v + (1 - alpha) * (g * g), state.square_avg, grads)
        grad_avg, buffer, variance = None, None, square_avg
        if centered:
            grad_avg = _map(lambda m, g: _lerp(m, g, 1 - alpha), state.grad_avg, grads)
            variance = _map(lambda v, m: v - m * m, square_avg, grad_avg)
        direction = _map(lambda g, v: g / (jnp.sqrt(v) + eps), grads, variance)
        if momentum:
            direction = buffer = _map(lambda b, d: momentum * b + d, state.momentum_buffer, direction)
        updates = _scale(direction, -_value(lr, state.step))
        return updates, RMSpropState(state.step + 1, square_avg, buffer, grad_avg)

    return optax.GradientTransformation(init, update)


def adam(
    lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *, maximize=False
):  # fmt: skip
    """torch.optim.Adam: weight_decay * params is added to the gradients, before the moments."""
    return _adam(lr, betas, eps, weight_decay, amsgrad, maximize, decoupled=False)


def adamw(
    lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *, maximize=False
):  # fmt: skip
    """torch.optim.AdamW: Adam, and the parameters shrink by lr * weight_decay beside it."""
    return _adam(lr, betas, eps, weight_decay, amsgrad, maximize, decoupled=True)


def _adam(lr, betas, eps, weight_decay, amsgrad, maximize, decoupled):
    _check_not_negative(lr=lr, eps=eps, weight_decay=weight_decay)
    beta1, beta2 = betas
    if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
        raise ValueError(f"betas must be at least 0 and less than 1, got {betas}")

    def init(params):
        maximum = _full_like(params) if amsgrad else None
        return AdamState(_zero(), _full_like(params), _full_like(params), maximum)

    def update(grads, state, params=None):
        grads = _signed_and_decayed(grads, params, maximize, 0 if decoupled else weight_decay)
        step = state.step + 1
        exp_avg = _map(lambda m, g: _lerp(m, g, 1 - beta1), state.exp_avg, grads)
        exp_avg_sq = _map(lambda v, g: beta2 * v + (1 - beta2) * (g * g), state.exp_avg_sq, grads)
        maximum, variance = None, exp_avg_sq
        if amsgrad:  # the maximum is taken of what is not yet corrected
            maximum = variance = _map(jnp.maximum, state.max_exp_avg_sq, exp_avg_sq)

        root = jnp.sqrt(_bias_correction(beta2, step))
        rate = _value(lr, state.step)
        step_size = rate / _bias_correction(beta1, step)
        updates = _map(lambda m, v: -step_size * (m / (jnp.sqrt(v) / root + eps)), exp_avg, variance)
        if decoupled and weight_decay:
            _check_given(params)
            updates = _map(lambda u, p: u - rate * weight_decay * p, updates, params)
        return updates, AdamState(step, exp_avg, exp_avg_sq, maximum)

    return optax.GradientTransformation(init, update)


OPTIMIZERS = {"SGD": sgd, "Adagrad": adagrad, "RMSprop": rmsprop, "Adam": adam, "AdamW": adamw}


def linear_decay(step, steps, after=0.0):
    """What a rate, or another quantity of a run of `steps`, is multiplied by at a step.

    1, from the share `after` of the run on linearly down to 0; 1 throughout where steps is None.
    """
    if steps is None or after == 1:
        return 1.0
    return jnp.clip((steps - step) / (steps * (1 - after)), 0, 1)


# Schedules: torch's closed forms, over optimizer steps; torch's users often count epochs.


def step_lr(lr, step_size, gamma=0.1):
    """torch.optim.lr_scheduler.StepLR: times gamma every step_size steps."""
    _check_positive(step_size=step_size)
    _check_not_negative(gamma=gamma)
    # optax.exponential_decay(staircase=True) floors a float quotient, which under jit comes a step late.
    return lambda step: lr * _power(gamma, step // step_size)


def multi_step_lr(lr, milestones, gamma=0.1):
    """torch.optim.lr_scheduler.MultiStepLR: times gamma at every milestone, as often as it is listed."""
    _check_not_negative(gamma=gamma)
    milestones = np.array(milestones)
    return lambda step: lr * _power(gamma, jnp.sum(step >= milestones))


def exponential_lr(lr, gamma):
    """torch.optim.lr_scheduler.ExponentialLR: times gamma every step."""
    _check_not_negative(gamma=gamma)
    return lambda step: lr * _power(gamma, step)


def cosine_annealing_lr(lr, T_max, eta_min=0):
    """torch.optim.lr_scheduler.CosineAnnealingLR: half a cosine from lr to eta_min, then up again.

    optax.cosine_decay_schedule stays at the bottom.
    """
    _check_positive(T_max=T_max)
    # This squared sine is (1 + cos(pi * step / T_max)) / 2, and keeps its digits where that is small.
    angle = math.pi / 2 / T_max
    return lambda step: eta_min + (lr - eta_min) * jnp.sin(angle * (step % (2 * T_max) - T_max)) ** 2


def linear_lr(lr, start_factor=1 / 3, end_factor=1.0, total_iters=5):
    """torch.optim.lr_scheduler.LinearLR: from lr * start_factor to lr * end_factor."""
    if not (0 < start_factor <= 1 and 0 <= end_factor <= 1):
        raise ValueError(
            "start_factor must be in (0, 1] and end_factor in [0, 1], "
            f"got start_factor={start_factor}, end_factor={end_factor}"
        )
    # optax.linear_schedule divides the int32 step, which gives float32 under x64 too.
    slope = (end_factor - start_factor) / total_iters if total_iters else 0.0
    return lambda step: lr * (start_factor + slope * jnp.minimum(step, total_iters))


def clip_grad_norm(max_norm):
    """torch.nn.utils.clip_grad_norm_: all gradients times min(1, max_norm / (their norm + 1e-6))."""

    def update(grads, state, params=None):
        norm = optax.tree.norm(jax.tree.map(_widened, grads))
        return _scale(grads, jnp.minimum(max_norm / (norm + 1e-6), 1)), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def clip_grad_value(clip_value):
    """torch.nn.utils.clip_grad_value_: every element of the gradients into [-clip_value, clip_value]."""
    return optax.clip(clip_value)


def _map(f, *trees):
    """jax.tree.map(f), computed in float32 or wider as torch does, in the dtypes of the first tree."""

    def leaf(first, *rest):
        return f(_widened(first), *map(_widened, rest)).astype(first.dtype)

    return jax.tree.map(leaf, *trees)


def _widened(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _scale(tree, factor):
    return _map(lambda x: factor * x, tree)


def _signed_and_decayed(grads, params, maximize, weight_decay):
    """What torch does to the gradients first."""
    if maximize:
        grads = _map(jnp.negative, grads)
    if weight_decay:
        _check_given(params)
        grads = _map(lambda g, p: g + weight_decay * p, grads, params)
    return grads


def _lerp(start, end, weight):
    """torch.lerp: start at weight 0, end at weight 1, exactly."""
    difference = end - start
    return start + weight * difference if weight < 0.5 else end - (1 - weight) * difference


def _bias_correction(beta, step):
    """1 - beta**step, without the cancellation that costs float32 four digits at beta = 0.999."""
    return -jnp.expm1(step * math.log(beta)) if beta else 1.0


def _power(base, exponent):
    """base**exponent; the logarithm is taken in double, for many steps multiply its error."""
    return jnp.exp(exponent * math.log(base)) if base else jnp.where(exponent == 0, 1.0, 0.0)


def _value(lr, step):
    return lr(step) if callable(lr) else lr


def _zero():
    return jnp.zeros((), jnp.int32)


def _full_like(params, value=0):
    return jax.tree.map(lambda p: jnp.full_like(p, value), params)


def _check_not_negative(**arguments):
    for name, value in arguments.items():
        if not callable(value) and not value >= 0:  # in this form NaN fails too
            raise ValueError(f"{name} must not be negative, got {value}")


def _check_positive(**arguments):
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def _check_given(params):
    if params is None:
        raise ValueError("weight_decay needs the parameters: call update(grads, state, params)")
