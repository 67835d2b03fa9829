"""torch's gradient clipping as optax transformations. Source: the documentation of torch.nn.utils."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from train.optim.arithmetic import scale, widen


def clip_grad_norm(max_norm: float) -> optax.GradientTransformation:
    """Multiplies all gradients by min(1, max_norm / (their norm + 1e-6)): torch.nn.utils.clip_grad_norm_."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        norm = optax.tree.norm(jax.tree.map(widen, updates))
        return scale(updates, jnp.minimum(max_norm / (norm + 1e-6), 1)), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def clip_grad_value(clip_value: float) -> optax.GradientTransformation:
    """Clips each value of the gradients to [-clip_value, clip_value]: torch.nn.utils.clip_grad_value_."""
    return optax.clip(clip_value)
