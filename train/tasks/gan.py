"""Adversarial training: steps of the discriminator, then one of the generator.

Goodfellow et al., "Generative Adversarial Nets" (2014). Both halves of a step see the same noise; the
generator runs anew for its own half, so its batch statistics move twice a step. A variant is a loss
(train/tasks/gan_losses.py), a number of discriminator steps, or what holds the discriminator back.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flax_models import layers
from train.config import GANRecipe
from train.data.streams import PICTURES, stream
from train.optim import linear_decay
from train.pictures import as_bytes, save_grid
from train.plots import save_curve_bundle
from train.state import TrainState, buffers_of, descend, model_options
from train.tasks import base
from train.tasks.gan_losses import LOSSES, gradient_penalty
from train.tasks.supervised import inputs_of

PICTURE_COUNT, PER_CLASS = 64, 8


class Task(base.Task):
    """The model has the children `generator`, with a `noise_shape`, and `discriminator`.

    Both are told the labels where the model has an option num_classes. Its real examples are pictures, or
    the x of another kind of data. The discriminator of a gradient penalty has no batch norm, since that
    would make the slope at one example depend on the others.
    """

    def __init__(self, recipe: GANRecipe, model: nnx.Module):
        super().__init__(recipe, model)
        self.code_shape = tuple(model.generator.noise_shape)
        self.labelled = "num_classes" in model_options(recipe.model)
        self.discriminator_loss, self.generator_loss = LOSSES[recipe.loss]
        if recipe.gradient_penalty and any(
            isinstance(m, layers.BatchNorm2d) for _, m in nnx.iter_modules(model.discriminator)
        ):
            raise ValueError(
                f"a gradient penalty needs a discriminator without batch norm: {recipe.model}'s has it"
            )
        self._generate = jax.jit(self.generate)
        self.example_shape = self._example_shape() if recipe.instance_noise else None

    def state(self) -> TrainState:
        state = super().state()
        if self.recipe.ema is None:
            return state
        average = {"generator": jax.tree.map(jnp.copy, state.params["generator"])}
        return state._replace(extra={"average": average})

    def draw(self, key, batch_size: int) -> base.Batch:
        """{"z": (batch_size, *noise_shape)}; for a penalty {"mix": (batch_size,)}, in [0, 1]; for instance
        noise {"real_noise", "fake_noise"} of the examples' shape, N(0, 1).
        """
        noise = {"z": self.draw_codes(key, batch_size)}
        if self.recipe.gradient_penalty:
            noise["mix"] = jax.random.uniform(jax.random.fold_in(key, 1), (batch_size,))
        if self.example_shape:
            for number, name in enumerate(("real_noise", "fake_noise"), 2):
                shape = (batch_size, *self.example_shape)
                noise[name] = jax.random.normal(jax.random.fold_in(key, number), shape)
        return noise

    def draw_codes(self, key, count: int) -> jax.Array:
        """(count, *code_shape), as the recipe's noise is."""
        shape = (count, *self.code_shape)
        if self.recipe.noise == "normal":
            return jax.random.normal(key, shape)
        return jax.random.uniform(key, shape, minval=-1)

    def step(self, state: TrainState, batch, noise) -> tuple[TrainState, base.Batch]:
        shares = [
            _share((batch, noise), self.recipe.critic_steps, n) for n in range(self.recipe.critic_steps)
        ]
        losses = []
        for share in shares:
            state, loss = self._discriminate(state, *share)
            losses.append(loss)
        state, generator_loss = self._generate_better(state, *shares[-1])
        state = self._average(state)._replace(step=state.step + 1)
        return state, {"discriminator_loss": sum(losses) / len(losses), "generator_loss": generator_loss}

    def _discriminate(self, state: TrainState, batch, noise) -> tuple[TrainState, jax.Array]:
        """One step of the discriminator."""
        recipe, given = self.recipe, self._given(batch)
        real = self._shown(state, inputs_of(batch), noise, "real_noise")

        def loss_of(params):
            model = self.blueprint.train(params, state.buffers)
            fake = self._shown(state, model.generator(noise["z"], *given), noise, "fake_noise")
            loss = self.discriminator_loss(
                model.discriminator(real, *given), model.discriminator(fake, *given)
            )
            if recipe.gradient_penalty:
                slope = gradient_penalty(lambda x: model.discriminator(x, *given), real, fake, noise["mix"])
                loss += recipe.gradient_penalty * slope
            return loss, (buffers_of(model), None)

        state, loss, _ = descend(state, "discriminator", self.transformations["discriminator"], loss_of)
        if recipe.weight_clip:
            clipped = jax.tree.map(
                lambda p: jnp.clip(p, -recipe.weight_clip, recipe.weight_clip), state.params["discriminator"]
            )
            state = state._replace(params={**state.params, "discriminator": clipped})
        return state, loss

    def _generate_better(self, state: TrainState, batch, noise) -> tuple[TrainState, jax.Array]:
        """One step of the generator."""
        given = self._given(batch)

        def loss_of(params):
            model = self.blueprint.train(params, state.buffers)
            fake = self._shown(state, model.generator(noise["z"], *given), noise, "fake_noise")
            return self.generator_loss(model.discriminator(fake, *given)), (buffers_of(model), None)

        return descend(state, "generator", self.transformations["generator"], loss_of)[:2]

    def _shown(self, state: TrainState, examples: jax.Array, noise, name: str) -> jax.Array:
        """The examples as the discriminator is shown them: with the instance noise of this step.

        Sønderby et al., "Amortised MAP Inference for Image Super-resolution" (2017).
        """
        recipe = self.recipe
        if not recipe.instance_noise:
            return examples
        deviation = recipe.instance_noise * linear_decay(state.step, recipe.steps)
        return examples + (deviation * noise[name]).astype(examples.dtype)

    def _example_shape(self) -> tuple[int, ...]:
        """Of what the generator makes, without the batch."""
        given = [jnp.zeros((1, *self.code_shape))] + [jnp.zeros(1, jnp.int32)] * self.labelled

        def made(params, buffers, given):
            return self.blueprint.eval(params, buffers).generator(*given)

        return jax.eval_shape(made, self._params, self._buffers, given).shape[1:]

    def _given(self, batch) -> tuple:
        """What both halves are told besides."""
        return (batch["label"],) if self.labelled else ()

    def _average(self, state: TrainState) -> TrainState:
        """The moving average of the generator's weights after a step; it begins as those of the first."""
        if self.recipe.ema is None:
            return state
        kept = jnp.where(state.step == 0, 0.0, self.recipe.ema)
        average = jax.tree.map(
            lambda mean, new: mean + (1 - kept).astype(new.dtype) * (new - mean),
            state.extra["average"]["generator"],
            state.params["generator"],
        )
        return state._replace(extra={"average": {"generator": average}})

    def generate(self, state: TrainState, codes: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        """Noise (N, *code_shape) -> examples, in evaluation mode; by the average where there is one."""
        params = {**state.params, **state.extra.get("average", {})}
        model = self.blueprint.eval(params, state.buffers)
        return model.generator(codes, *(() if labels is None else (labels,)))

    def save_pictures(self, state: TrainState, data: Any, path_of: base.PathOf) -> None:
        """What the generator makes of noise that is the same every time; a row for every class."""
        codes = self.draw_codes(stream(self.recipe.seed, PICTURES), PICTURE_COUNT)
        labels = columns = None
        if self.labelled:
            classes = len(data.meta["classes"])
            codes, columns = jnp.tile(codes[:PER_CLASS], (classes, *[1] * len(self.code_shape))), PER_CLASS
            labels = jnp.repeat(jnp.arange(classes), PER_CLASS)
        made = np.asarray(self._generate(state, codes, labels))
        if made.ndim == 4:
            save_grid(as_bytes(made), path_of("samples"), columns=columns)
        elif "bounds" in data.meta:
            save_curve_bundle(np.asarray(data.meta["places"]), made, data.meta["bounds"], path_of("curves"))


def _share(tree, count: int, number: int):
    """One of `count` parts of equal size, or nearly, of every array of a batch."""
    return jax.tree.map(lambda array: jnp.array_split(array, count)[number], tree)
