"""Adversarial training: one step of the discriminator, then one of the generator.

Goodfellow et al., "Generative Adversarial Nets" (2014). Both halves of a step see the same noise;
the generator runs anew for its own half, so its batch statistics move twice a step.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from train.config import GANRecipe
from train.data.streams import PICTURES, stream
from train.pictures import save_grid
from train.state import TrainState, buffers_of, descend
from train.tasks import base


def bce_discriminator_loss(real, fake):
    """-log D(x) - log(1 - D(G(z))) on logits: the mean over real plus the mean over fake."""
    loss = optax.sigmoid_binary_cross_entropy
    return loss(real, jnp.ones_like(real)).mean() + loss(fake, jnp.zeros_like(fake)).mean()


def bce_generator_loss(fake):
    """-log D(G(z)) on logits."""
    return optax.sigmoid_binary_cross_entropy(fake, jnp.ones_like(fake)).mean()


LOSSES = {"bce": (bce_discriminator_loss, bce_generator_loss)}
PICTURE_COUNT = 64


class Task(base.Task):
    """The model has the children `generator`, with `noise_features`, and `discriminator`."""

    def __init__(self, recipe: GANRecipe, model: nnx.Module):
        super().__init__(recipe, model)
        self.noise_features = model.generator.noise_features
        self.discriminator_loss, self.generator_loss = LOSSES[recipe.loss]
        self._samples = jax.jit(self.samples)

    def draw(self, key, batch_size: int) -> base.Batch:
        """{"z": (batch_size, noise_features)}"""
        shape = (batch_size, self.noise_features)
        if self.recipe.noise == "normal":
            return {"z": jax.random.normal(key, shape)}
        return {"z": jax.random.uniform(key, shape, minval=-1)}

    def step(self, state: TrainState, batch, noise) -> tuple[TrainState, base.Batch]:
        images, z = batch["image"], noise["z"]

        def discriminator_loss(params):
            model = self.model(params, state.buffers, noise)
            fake = model.generator(z)
            loss = self.discriminator_loss(model.discriminator(images), model.discriminator(fake))
            return loss, (buffers_of(model), None)

        state, loss_d, _ = descend(
            state, "discriminator", self.transformations["discriminator"], discriminator_loss
        )

        def generator_loss(params):
            model = self.model(params, state.buffers, noise)
            loss = self.generator_loss(model.discriminator(model.generator(z)))
            return loss, (buffers_of(model), None)

        state, loss_g, _ = descend(state, "generator", self.transformations["generator"], generator_loss)
        return state._replace(step=state.step + 1), {"discriminator_loss": loss_d, "generator_loss": loss_g}

    def samples(self, state: TrainState) -> jax.Array:
        """Images from noise that is the same at every call: (64, H, W, C) uint8."""
        z = self.draw(stream(self.recipe.seed, PICTURES), PICTURE_COUNT)["z"]
        images = self.blueprint.eval(state.params, state.buffers).generator(z)
        return jnp.clip((images + 1) * 127.5 + 0.5, 0, 255).astype(jnp.uint8)

    def save_pictures(self, state: TrainState, data, path_of: base.PathOf) -> None:
        save_grid(np.asarray(self._samples(state)), path_of("samples"))
