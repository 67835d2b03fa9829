"""torch's learning-rate schedules in closed form: functions of the 0-based optimizer step.

Source: the documentation of torch.optim.lr_scheduler. torch's users often step a schedule once per epoch;
here a step is always an optimizer step.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from train.optim.arithmetic import as_float

Schedule = Callable[[Any], Any]
"""step -> learning rate."""


def linear_decay(step: Any, steps: int | None, after: float = 0.0) -> Any:
    """The factor by which a learning rate or another quantity is multiplied at a step.

    steps: the steps of the run.
    The factor is 1 until the fraction `after` of the run, and then falls linearly to 0 at the end of the run.
    If steps is None, it is always 1.
    """
    if steps is None or after == 1:
        return 1.0
    return jnp.clip((steps - as_float(step)) / (steps * (1 - after)), 0, 1)


def step_lr(lr: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """torch.optim.lr_scheduler.StepLR: the rate is multiplied by gamma every step_size steps."""
    _check_positive(step_size=step_size)
    _check_not_negative(gamma=gamma)
    # optax.exponential_decay(staircase=True) floors a float quotient, so under jit the rate
    # changes one step too late.
    return lambda step: lr * _power(gamma, step // step_size)


def multi_step_lr(lr: float, milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """torch.optim.lr_scheduler.MultiStepLR: the rate is multiplied by gamma at every milestone.

    The rate is multiplied twice at a milestone that is listed twice.
    """
    _check_not_negative(gamma=gamma)
    bounds = np.array(milestones)

    def schedule(step: Any) -> Any:
        # Strict promotion does not compare an int32 step with int64 milestones.
        step = jnp.asarray(step)
        return lr * _power(gamma, jnp.sum(step >= jnp.asarray(bounds, step.dtype)))

    return schedule


def exponential_lr(lr: float, gamma: float) -> Schedule:
    """torch.optim.lr_scheduler.ExponentialLR: the rate is multiplied by gamma every step."""
    _check_not_negative(gamma=gamma)
    return lambda step: lr * _power(gamma, step)


def cosine_annealing_lr(lr: float, T_max: int, eta_min: float = 0.0) -> Schedule:
    """torch.optim.lr_scheduler.CosineAnnealingLR: half a cosine from lr down to eta_min, then up again.

    optax.cosine_decay_schedule differs: it stays at the minimum.
    """
    _check_positive(T_max=T_max)
    # This squared sine equals (1 + cos(pi * step / T_max)) / 2, and it is accurate for small values.
    angle = math.pi / 2 / T_max
    return lambda step: eta_min + (lr - eta_min) * jnp.sin(angle * as_float(step % (2 * T_max) - T_max)) ** 2


def linear_lr(
    lr: float, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
) -> Schedule:
    """torch.optim.lr_scheduler.LinearLR: the rate goes from lr * start_factor to lr * end_factor."""
    if not (0 < start_factor <= 1 and 0 <= end_factor <= 1):
        raise ValueError(
            "start_factor must be in (0, 1] and end_factor in [0, 1], "
            f"got start_factor={start_factor}, end_factor={end_factor}"
        )
    # optax.linear_schedule divides the int32 step, so it returns float32 even if x64 is enabled.
    slope = (end_factor - start_factor) / total_iters if total_iters else 0.0
    return lambda step: lr * (start_factor + slope * as_float(jnp.minimum(step, total_iters)))


def _power(base: float, exponent: Any) -> Any:
    """base**exponent. The logarithm is taken in double precision, since many steps multiply its error."""
    return jnp.exp(as_float(exponent) * math.log(base)) if base else jnp.where(exponent == 0, 1.0, 0.0)


def _check_not_negative(**arguments: float) -> None:
    for name, value in arguments.items():
        if not value >= 0:  # this form refuses NaN too
            raise ValueError(f"{name} must not be negative, got {value}")


def _check_positive(**arguments: int) -> None:
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
