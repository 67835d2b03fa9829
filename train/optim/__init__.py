"""Optax versions of torch's optimizers, schedules and gradient clipping, with exactly torch's results.

    from train.optim import SGD, step_lr, to_optax

    tx = to_optax(SGD(lr=0.1, momentum=0.9))
    tx = to_optax(SGD(momentum=0.9), lr=step_lr(0.1, step_size=1000))

The configs are plain values. The other names need jax, and are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from train.lazy import lazy_attributes
from train.optim.configs import *  # noqa: F403
from train.optim.configs import OPTIMIZERS, Optimizer

if TYPE_CHECKING:
    from train.optim.clipping import clip_grad_norm, clip_grad_value
    from train.optim.schedules import (
        cosine_annealing_lr,
        exponential_lr,
        linear_decay,
        linear_lr,
        multi_step_lr,
        step_lr,
    )
    from train.optim.transformations import to_optax

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "OPTIMIZERS", "Optimizer", "clip_grad_norm", "clip_grad_value", "cosine_annealing_lr", "exponential_lr",
    "linear_decay", "linear_lr", "multi_step_lr", "step_lr", "to_optax", *OPTIMIZERS,
]  # fmt: skip

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "train.optim.clipping": ("clip_grad_norm", "clip_grad_value"),
        "train.optim.schedules": (
            "cosine_annealing_lr", "exponential_lr", "linear_decay", "linear_lr", "multi_step_lr", "step_lr",
        ),
        "train.optim.transformations": ("to_optax",),
    },
)  # fmt: skip
