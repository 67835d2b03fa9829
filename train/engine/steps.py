"""The compiled training step: one step, or many steps in one dispatch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models import layers
from train.backend import compiler_options
from train.data.feeds import Feed
from train.data.random_keys import AUGMENT, NOISE, rng_key
from train.tasks.contract import Task
from train.tasks.state import TrainState

STEPS_PER_CALL = 1000

Losses = dict[str, jax.Array]


def jit_steps(task: Task, feed: Feed, max_steps_per_call: int) -> Any:
    """A jitted function (state, inputs, length) -> (state, the losses of each step (max_steps_per_call,)).

    It runs `length` steps, up to `max_steps_per_call`, on the inputs of the feed. If the recipe stops below a
    loss, the call ends with the step that reaches this loss. If `max_steps_per_call` is 1, the losses are
    scalars.
    """
    recipe = task.recipe

    def one_step(state: TrainState, inputs: Any) -> tuple[TrainState, Losses]:
        noise_key, augment_key = (
            jax.random.fold_in(rng_key(recipe.seed, use), state.step) for use in (NOISE, AUGMENT)
        )
        batch = task.prepare(feed.batch(inputs, state.step), augment_key)
        return task.step(state, batch, task.draw(noise_key, feed.batch_size))

    def many_steps(state: TrainState, inputs: Any, length: jax.Array) -> tuple[TrainState, Losses]:
        _, shapes = jax.eval_shape(one_step, state, inputs)
        first = state.step
        losses = {name: jnp.zeros(max_steps_per_call, leaf.dtype) for name, leaf in shapes.items()}

        def continues(carry):
            state, losses = carry
            done = state.step - first
            if recipe.stop_below is None:
                return done < length
            return (done < length) & ((done == 0) | ~(losses["loss"][done - 1] < recipe.stop_below))

        def step(carry):
            state, losses = carry
            position = state.step - first
            state, values = one_step(state, inputs)
            return state, {name: losses[name].at[position].set(value) for name, value in values.items()}

        return jax.lax.while_loop(continues, step, (state, losses))

    def single_step(state: TrainState, inputs: Any, length: jax.Array) -> tuple[TrainState, Losses]:
        return one_step(state, inputs)

    # XLA does not use its fast CPU convolutions inside a loop, even of one step, so a single step is compiled
    # without a loop.
    call: Callable[..., Any] = many_steps if max_steps_per_call > 1 else single_step
    return jax.jit(call, donate_argnums=0, compiler_options=compiler_options())


def fast_steps_per_call(model: nnx.Module, without: str | None = None) -> int:
    """The steps in one dispatch: many, but 1 for convolutions on a CPU, because a loop makes them slower.

    without: a child of the model that the steps do not call.
    """
    convolves = any(
        isinstance(module, layers.Conv2d | layers.ConvTranspose2d | nnx.Conv | nnx.ConvTranspose)
        for path, module in nnx.iter_modules(model)
        if without is None or path[:1] != (without,)
    )
    return 1 if convolves and jax.default_backend() == "cpu" else STEPS_PER_CALL
