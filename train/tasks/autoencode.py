"""Autoencoding: the squared error of the reconstruction, and for a variational model the KL divergence.

Kingma & Welling, "Auto-Encoding Variational Bayes" (2014): the encoder's output is a distribution, from which
a latent is drawn; the step gets the random numbers eps ~ N(0, 1) as input.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from train.backend import compiler_options
from train.data.random_keys import IMAGES, rng_key
from train.data.sources import Data, split_size, take_rows
from train.plotting.grids import as_bytes, save_grid
from train.plotting.points import save_latents
from train.recipes import AutoencodeRecipe
from train.tasks.base import BaseTask
from train.tasks.contract import Batch, PathOf
from train.tasks.losses.supervised import sse
from train.tasks.state import TrainState, Tree, apply_gradients, buffers_of

NUM_SAMPLES = 64
COLUMNS, ROWS = 12, 2  # columns and rows of images; each row is above a row of reconstructions
MAX_POINTS = 2000  # latents in a scatter plot


def kl_divergence(mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """The divergence of N(mean, exp(logvar)) from N(0, 1), summed over a latent: (N, F), (N, F) -> (N,)."""
    return -0.5 * (1 + logvar - jnp.square(mean) - jnp.exp(logvar)).sum(axis=1)


class Task(BaseTask):
    """The model has the children `encoder` and `decoder`, a `latent_shape`, and the flag `variational`.

    A plain model maps images to (latent, output). A variational model has an encoder that gives the mean and
    the logarithm of the variance of a latent. It also takes eps, and gives (output, mean, logvar). It is
    evaluated with eps = 0, so the latent of an image is then the mean.
    """

    evaluates: ClassVar[bool] = True
    labelled = False

    def __init__(self, recipe: AutoencodeRecipe, model: Any):
        self.require_attributes(recipe, model, "encoder", "decoder", "latent_shape", "variational")
        super().__init__(recipe, model)
        self.latent_shape: tuple[int, ...] = model.latent_shape
        self.variational: bool = model.variational
        if self.variational != (recipe.loss == "vae"):
            suited = "vae" if self.variational else "sse"
            raise ValueError(f"{recipe.model} is trained with the loss {suited}, got {recipe.loss!r}")

        def encode_batch(state: TrainState, rows: Batch) -> tuple[jax.Array, jax.Array]:
            images = self.prepare_test(rows)["image"]
            return images, self.encode(state, images)

        self._encode_batch = jax.jit(encode_batch, compiler_options=compiler_options())
        self._decode = jax.jit(self.sample, compiler_options=compiler_options())

    def draw(self, key: jax.Array, batch_size: int) -> Batch:
        """{"eps": (batch_size, *latent_shape)} ~ N(0, 1) for a variational model."""
        noise = super().draw(key, batch_size)
        if self.variational:
            noise["eps"] = jax.random.normal(key, (batch_size, *self.latent_shape))
        return noise

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        def loss_of(params: Tree):
            model = self.training_model(params, state.buffers, noise)
            values = self._per_example(model, batch["image"], noise.get("eps"))
            losses = {name: value.mean() for name, value in values.items()}
            return losses["loss"], (buffers_of(model), losses)

        state, _, losses = apply_gradients(state, ("",), self.transformations, loss_of)
        return state._replace(step=state.step + 1), losses

    def evaluate(self, state: TrainState, batch: Batch) -> Batch:
        """The sums of the losses; a variational model is evaluated with eps = 0."""
        model, images = self.model_def.eval(state.params, state.buffers), batch["image"]
        eps = jnp.zeros((len(images), *self.latent_shape), images.dtype)
        return {name: values.sum() for name, values in self._per_example(model, images, eps).items()}

    def encode(self, state: TrainState, images: jax.Array) -> jax.Array:
        """The latents (N, *latent_shape) of images (N, H, W, C) in [-1, 1], in evaluation mode."""
        latent = self.model_def.eval(state.params, state.buffers).encoder(images)
        return latent[0] if self.variational else latent

    def draw_latents(self, key: jax.Array, count: int) -> jax.Array:
        """(count, *latent_shape) ~ N(0, 1). ValueError for a model whose latents have no distribution."""
        if not self.variational:
            raise ValueError(
                f"the latents of {self.recipe.model} have no distribution to draw from: "
                "give latents to decode"
            )
        return jax.random.normal(key, (count, *self.latent_shape))

    def sample(self, state: TrainState, latents: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        """Images (N, H, W, C) in [-1, 1] for latents (N, *latent_shape), in evaluation mode."""
        return self.model_def.eval(state.params, state.buffers).decoder(latents)

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        """Saves reconstructions, decoded points on the line between two latents, a plot of the latents if
        they have 2 or 3 values, and samples.
        """
        split: Any = data.train if data.test is None else data.test
        size = split_size(split)
        columns = min(COLUMNS, size)
        num_shown = columns * min(ROWS, size // columns)
        plots_latents = self.latent_shape in ((2,), (3,)) and "classes" in data.meta
        rows: Any = take_rows(split, evenly_spaced(size, MAX_POINTS if plots_latents else num_shown))
        images, latents = jax.device_get(self._encode_batch(state, rows))
        labels = rows.get("label", np.zeros(len(images), np.int32))
        if plots_latents:
            save_latents(latents, labels, data.meta["classes"], path_of("codes"))

        shown = evenly_spaced(len(latents), num_shown)
        images, latents, labels = images[shown], latents[shown], labels[shown]
        # The first example of any other class, or the last example if there is one class.
        other = int(np.argmax(labels != labels[0])) or len(labels) - 1
        fraction = np.linspace(0, 1, COLUMNS, dtype=latents.dtype).reshape(
            -1, *(1 for _ in self.latent_shape)
        )
        parts = {
            "reconstructions": latents,
            "walk": latents[0] + fraction * (latents[other] - latents[0]),
        }
        if self.variational:
            parts["samples"] = self.draw_latents(rng_key(self.recipe.seed, IMAGES), NUM_SAMPLES)
        decoded = as_bytes(self._decode(state, np.concatenate(list(parts.values()))))
        ends = np.cumsum([len(part) for part in parts.values()])
        grids = dict(zip(parts, np.split(decoded, ends[:-1]), strict=True))

        shape = (-1, columns, *images.shape[1:])
        pairs = [as_bytes(images).reshape(shape), grids["reconstructions"].reshape(shape)]
        grids["reconstructions"] = np.stack(pairs, axis=1).reshape(-1, *images.shape[1:])
        for name, width in zip(grids, (columns, COLUMNS, None), strict=False):
            save_grid(grids[name], path_of(name), columns=width)

    def _per_example(self, model: nnx.Module | Any, images: jax.Array, eps: jax.Array | None) -> Batch:
        """{loss: its value (N,) for every example}."""
        if not self.variational:
            _, outputs = model(images)
            return {"loss": sse(outputs, images)}
        outputs, mean, logvar = model(images, eps)
        reconstruction, kl = sse(outputs, images), kl_divergence(mean, logvar)
        return {"loss": reconstruction + kl, "reconstruction_loss": reconstruction, "kl_loss": kl}


def evenly_spaced(size: int, count: int) -> np.ndarray:
    """`count` evenly spaced positions among `size` examples; all positions if `count` is larger."""
    return np.linspace(0, size - 1, min(count, size)).round().astype(int)
