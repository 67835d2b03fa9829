"""Adversarial training: discriminator steps, then one generator step.

Goodfellow et al., "Generative Adversarial Nets" (2014). Both parts of a step use the same latents. The
generator is called a second time in the generator step, so its batch statistics are updated twice per step.
The variants differ in the loss (train/tasks/losses/adversarial.py), in the number of discriminator steps, and
in the constraint on the discriminator.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flax_models import layers
from train.backend import compiler_options
from train.data.random_keys import IMAGES, rng_key
from train.data.sources import Data
from train.optim import linear_decay
from train.plotting.grids import as_bytes, save_grid
from train.plotting.points import save_curve_bundle
from train.recipes import GANRecipe
from train.tasks.base import BaseTask
from train.tasks.contract import Batch, PathOf
from train.tasks.losses.adversarial import LOSSES, gradient_penalty
from train.tasks.models import model_options
from train.tasks.state import (
    TrainState,
    Tree,
    apply_gradients,
    buffers_of,
    transformations_at,
)
from train.tasks.supervised import inputs_of

NUM_SAMPLES, PER_CLASS = 64, 8


class Task(BaseTask):
    """The model has the children `generator`, with a `latent_shape`, and `discriminator`.

    Both take the labels if the model has an option num_classes. The real examples are images, or the array x
    of any other kind of data. A gradient penalty needs a discriminator without batch norm, because batch norm
    makes the gradient at one example depend on the others.
    """

    evaluates: ClassVar[bool] = False

    def __init__(self, recipe: GANRecipe, model: Any):
        self.require_attributes(recipe, model, "generator", "discriminator")
        self.require_attributes(recipe, model.generator, "latent_shape")
        super().__init__(recipe, model)
        self.latent_shape = tuple(model.generator.latent_shape)
        self.labelled = "num_classes" in model_options(type(model))
        self.discriminator_loss, self.generator_loss = LOSSES[recipe.loss]
        if recipe.gradient_penalty and any(
            isinstance(m, layers.BatchNorm2d) for _, m in nnx.iter_modules(model.discriminator)
        ):
            raise ValueError(
                "a gradient penalty needs a discriminator without batch norm, "
                f"but the discriminator of {recipe.model} has batch norm"
            )
        self.transformations = transformations_at(self.recipe, 0)
        self._sample = jax.jit(self.sample, compiler_options=compiler_options())
        self.example_shape = self._example_shape() if recipe.instance_noise or recipe.translation else ()
        if recipe.translation and len(self.example_shape) != 3:
            raise ValueError(f"translation moves images, but {recipe.model} makes {self.example_shape}")

    def initial_state(self) -> TrainState:
        state = super().initial_state()
        if self.recipe.ema is None:
            return state
        averages = {"average": _generator_of(state.params), "average_buffers": _generator_of(state.buffers)}
        return state._replace(extra=jax.tree.map(jnp.copy, averages))

    def draw(self, key: jax.Array, batch_size: int) -> Batch:
        """The random numbers of a step.

        "latent" (batch_size, *latent_shape); if `gradient_penalty` is set: "mix" (batch_size,) in [0, 1]; if
        `instance_noise` is set: "real_noise" and "fake_noise" ~ N(0, 1), in the shape of the examples; if
        `translation` is set: "real_shift" and "fake_shift" (batch_size, 2), integers, in pixels.
        """
        noise = {"latent": self.draw_latents(key, batch_size)}
        if self.recipe.gradient_penalty:
            noise["mix"] = jax.random.uniform(jax.random.fold_in(key, 1), (batch_size,))
        if self.recipe.translation:
            for number, name in enumerate(("real_shift", "fake_shift"), 4):
                noise[name] = self._draw_shifts(jax.random.fold_in(key, number), batch_size)
        if self.recipe.instance_noise:
            for number, name in enumerate(("real_noise", "fake_noise"), 2):
                shape = (batch_size, *self.example_shape)
                noise[name] = jax.random.normal(jax.random.fold_in(key, number), shape)
        return noise

    def _draw_shifts(self, key: jax.Array, count: int) -> jax.Array:
        """(count, 2): the pixels by which images are moved down and to the right."""
        most = self.recipe.translation
        return jax.random.randint(key, (count, 2), -most, most + 1)

    def draw_latents(self, key: jax.Array, count: int) -> jax.Array:
        """(count, *latent_shape) of the recipe's latent distribution."""
        shape = (count, *self.latent_shape)
        if self.recipe.latent_distribution == "normal":
            return jax.random.normal(key, shape)
        return jax.random.uniform(key, shape, minval=-1)

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        splits = [
            _split((batch, noise), self.recipe.critic_steps, n) for n in range(self.recipe.critic_steps)
        ]
        losses = []
        for split in splits:
            state, loss = self._discriminator_step(state, *split)
            losses.append(loss)
        state, generator_loss = self._generator_step(state, *splits[-1])
        state = self._update_average(state)._replace(step=state.step + 1)
        discriminator_loss = sum(losses[1:], start=losses[0]) / len(losses)
        return state, {"discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    def _discriminator_step(
        self, state: TrainState, batch: Batch, noise: Batch
    ) -> tuple[TrainState, jax.Array]:
        recipe, conditions = self.recipe, self._conditions(batch)
        real = self._augmented(state, inputs_of(batch), noise, "real")

        def loss_of(params: Tree):
            model = self.model_def.train(params, state.buffers)
            fake = model.generator(noise["latent"], *conditions)
            fake = self._augmented(state, fake, noise, "fake")
            loss = self.discriminator_loss(
                model.discriminator(real, *conditions), model.discriminator(fake, *conditions)
            )
            if recipe.gradient_penalty:
                penalty = gradient_penalty(
                    lambda x: model.discriminator(x, *conditions), real, fake, noise["mix"]
                )
                loss += recipe.gradient_penalty * penalty
            return loss, (buffers_of(model), None)

        state, loss, _ = apply_gradients(
            state, ("discriminator",), transformations_at(self.recipe, state.step), loss_of
        )
        if recipe.weight_clip:
            clipped = jax.tree.map(
                lambda p: jnp.clip(p, -recipe.weight_clip, recipe.weight_clip), state.params["discriminator"]
            )
            state = state._replace(params={**state.params, "discriminator": clipped})
        return state, loss

    def _generator_step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, jax.Array]:
        conditions = self._conditions(batch)

        def loss_of(params: Tree):
            model = self.model_def.train(params, state.buffers)
            fake = model.generator(noise["latent"], *conditions)
            fake = self._augmented(state, fake, noise, "fake")
            return self.generator_loss(model.discriminator(fake, *conditions)), (buffers_of(model), None)

        transformations = transformations_at(self.recipe, state.step)
        state, loss, _ = apply_gradients(state, ("generator",), transformations, loss_of)
        return state, loss

    def _augmented(self, state: TrainState, examples: jax.Array, noise: Batch, kind: str) -> jax.Array:
        """The discriminator's inputs: the examples, translated, plus the instance noise of this step.

        kind: "real" or "fake", which selects the random numbers.
        Sønderby et al., "Amortised MAP Inference for Image Super-resolution" (2017); Zhao et al.,
        "Differentiable Augmentation for Data-Efficient GAN Training" (2020).
        """
        recipe = self.recipe
        if recipe.translation:
            examples = translate(examples, noise[f"{kind}_shift"])
        if recipe.instance_noise:
            first, final = recipe.instance_noise, recipe.final_instance_noise
            deviation = final + (first - final) * linear_decay(state.step, recipe.steps)
            examples += (deviation * noise[f"{kind}_noise"]).astype(examples.dtype)
        return examples

    def _example_shape(self) -> tuple[int, ...]:
        """The shape of one generated example."""
        inputs = [jnp.zeros((1, *self.latent_shape))] + [jnp.zeros(1, jnp.int32)] * self.labelled

        def generate(params: Tree, buffers: Tree, inputs: Any) -> jax.Array:
            return self.model_def.eval(params, buffers).generator(*inputs)

        return jax.eval_shape(generate, self._params, self._buffers, inputs).shape[1:]

    def _conditions(self, batch: Batch) -> tuple[jax.Array, ...]:
        """The further inputs of generator and discriminator: the labels of a conditional model."""
        return (batch["label"],) if self.labelled else ()

    def _update_average(self, state: TrainState) -> TrainState:
        """The state with the moving average after a step; its first value is the weights after step 1."""
        if self.recipe.ema is None:
            return state
        decay = jnp.where(state.step == 0, 0.0, self.recipe.ema)

        def averaged(mean: jax.Array, new: jax.Array) -> jax.Array:
            if not jnp.issubdtype(new.dtype, jnp.floating):  # the count of batches
                return new
            return mean + (1 - decay).astype(new.dtype) * (new - mean)

        extra = dict(state.extra)
        for name, current in (("average", state.params), ("average_buffers", state.buffers)):
            extra[name] = jax.tree.map(averaged, extra[name], _generator_of(current))
        return state._replace(extra=extra)

    def sample(self, state: TrainState, latents: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        """Examples for latents (N, *latent_shape), in evaluation mode.

        The generator has its averaged weights and statistics if the recipe has `ema`.
        """
        params = {**state.params, **state.extra.get("average", {})}
        buffers = {**state.buffers, **state.extra.get("average_buffers", {})}
        model = self.model_def.eval(params, buffers)
        return model.generator(latents, *(() if labels is None else (labels,)))

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        """Saves samples of fixed latents; a conditional model has one row for every class."""
        latents = self.draw_latents(rng_key(self.recipe.seed, IMAGES), NUM_SAMPLES)
        labels = columns = None
        if self.labelled:
            classes, columns = len(data.meta["classes"]), PER_CLASS
            latents = jnp.tile(latents[:PER_CLASS], (classes, *[1] * len(self.latent_shape)))
            labels = jnp.repeat(jnp.arange(classes), PER_CLASS)
        samples = np.asarray(self._sample(state, latents, labels))
        if samples.ndim == 4:
            save_grid(as_bytes(samples), path_of("samples"), columns=columns)
        elif "bounds" in data.meta:
            path = path_of("curves")
            save_curve_bundle(np.asarray(data.meta["places"]), samples, data.meta["bounds"], path)


def _generator_of(tree: Tree) -> Tree:
    """The part of the parameters or buffers that is the generator's; {} if it has none."""
    return {name: part for name, part in tree.items() if name == "generator"}


def translate(images: jax.Array, shifts: jax.Array) -> jax.Array:
    """Images (N, H, W, C), each moved down and to the right by its shifts (N, 2); the border is repeated.

    The products with matrices of zeros and ones are exact, and so are their gradients. On a CPU the gradient
    of indexing would be slower.
    """
    _, height, width, _ = images.shape
    rows = _moved(height, shifts[:, 0], images.dtype)
    columns = _moved(width, shifts[:, 1], images.dtype)
    return jnp.einsum("nih,njw,nhwc->nijc", rows, columns, images, precision="highest")


def _moved(size: int, shift: jax.Array, dtype: Any) -> jax.Array:
    """(N, size, size) of zeros and ones: row i has its one at the place that moves to i."""
    places = jnp.clip(jnp.arange(size) - shift[:, None], 0, size - 1)
    return jax.nn.one_hot(places, size, dtype=dtype)


def _split(tree: Any, count: int, number: int) -> Any:
    """Part `number` of `count` parts of every array of a batch. The parts' sizes differ by at most 1."""
    return jax.tree.map(lambda array: jnp.array_split(array, count)[number], tree)
