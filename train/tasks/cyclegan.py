"""Unpaired translation between two domains of images.

A training step is one step of both generators, and then one step of both discriminators.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (2017), as
in the authors' code: least-squares losses, and a pool of past images for the discriminators.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from train.backend import compiler_options
from train.data.sources import Data
from train.lookup import look_up
from train.plotting.grids import as_bytes, save_grid
from train.recipes import CycleGANRecipe, image_shape
from train.tasks.base import BaseTask
from train.tasks.contract import Batch, PathOf
from train.tasks.state import (
    TrainState,
    Tree,
    apply_gradients,
    buffers_of,
    transformations_at,
)

GENERATORS, DISCRIMINATORS = ("generator_ab", "generator_ba"), ("discriminator_a", "discriminator_b")
NUM_IMAGES = 8  # per row of a saved grid


def least_squares(scores: jax.Array, target: float) -> jax.Array:
    """The mean squared difference between the patches' scores and the target: 1 for real, 0 for generated."""
    return jnp.square(scores - target).mean()


def l1(a: jax.Array, b: jax.Array) -> jax.Array:
    """The mean absolute difference of two batches of images."""
    return jnp.abs(a - b).mean()


def query_pool(
    pool: jax.Array, count: jax.Array, images: jax.Array, chances: jax.Array, slots: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(the pool after images (N, H, W, C), the images that the pool returns (N, H, W, C)).

    The images are processed one after the other. While the pool is not full, it stores and returns each new
    image. When it is full and the image's chance (N,) is above 1/2, the pool returns the stored image number
    `slot` (N,) and puts the new image there. Otherwise it returns the new image. Shrivastava et al. 2017.
    pool: (P, H, W, C). Its first `count` entries contain an image.
    """

    def query(carry, new):
        pool, count = carry
        image, chance, slot = new
        full = count >= len(pool)
        position = jnp.where(full, slot, count)
        old, swapped = pool[position], full & (chance > 0.5)
        pool = pool.at[position].set(jnp.where(swapped | ~full, image, old))
        return (pool, count + 1), jnp.where(swapped, old, image)

    (pool, _), returned = jax.lax.scan(query, (pool, count), (images, chances, slots))
    return pool, returned


class Task(BaseTask):
    """The model has the children `generator_ab`, `generator_ba`, `discriminator_a`, `discriminator_b`.

    Errors: ValueError for images whose sides the model cannot take.
    """

    evaluates: ClassVar[bool] = False
    directions: ClassVar[Mapping[str, tuple[str, str]]] = {"a_to_b": ("a", "b"), "b_to_a": ("b", "a")}

    def __init__(self, recipe: CycleGANRecipe, model: Any):
        self.require_attributes(recipe, model, *GENERATORS, *DISCRIMINATORS)
        super().__init__(recipe, model)
        shape = image_shape(recipe)
        if shape is None:
            raise ValueError(f"{recipe.model} needs the shape of its images: give a data set with image_size")
        self.shape = self.transforms.output_shape(shape)
        if min(self.shape[:2]) < 24 or any(side % 4 for side in self.shape[:2]):
            raise ValueError(
                f"{recipe.model} needs images whose sides are multiples of 4 and at least 24, "
                f"got {self.shape[0]}x{self.shape[1]}: give another --image-size"
            )
        self.transformations = transformations_at(self.recipe, 0)
        self._translate_and_back = jax.jit(
            self.translate_and_back, static_argnums=2, compiler_options=compiler_options()
        )

    def initial_state(self) -> TrainState:
        return super().initial_state()._replace(extra=self._empty_pools(self.shape))

    def draw(self, key: jax.Array, batch_size: int) -> Batch:
        """For the pools of a and b: {"chance": (2, batch_size) in [0, 1), "slot": (2, batch_size) int32}."""
        chance, slot = jax.random.split(key)
        shape, size = (2, batch_size), max(1, self.recipe.pool_size)
        return {
            "chance": jax.random.uniform(chance, shape),
            "slot": jax.random.randint(slot, shape, 0, size, jnp.int32),
        }

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        real_a, real_b = batch["a"], batch["b"]

        def generators_loss(params: Tree):
            model = self.training_model(params, state.buffers, noise)
            fakes, losses = self._generator_losses(model, real_a, real_b)
            return losses["generator_loss"], (buffers_of(model), (fakes, losses))

        transformations = transformations_at(self.recipe, state.step)
        state, _, (fakes, losses) = apply_gradients(state, GENERATORS, transformations, generators_loss)
        extra, (past_a, past_b) = self._query_pools(state.extra, fakes, noise)

        def discriminators_loss(params: Tree):
            model = self.training_model(params, state.buffers, noise)
            loss_a = _discriminator_loss(model.discriminator_a, real_a, past_a)
            loss_b = _discriminator_loss(model.discriminator_b, real_b, past_b)
            losses = {"discriminator_a_loss": loss_a, "discriminator_b_loss": loss_b}
            return loss_a + loss_b, (buffers_of(model), losses)

        state, _, discriminator_losses = apply_gradients(
            state, DISCRIMINATORS, transformations, discriminators_loss
        )
        return state._replace(step=state.step + 1, extra=extra), {**losses, **discriminator_losses}

    def _generator_losses(self, model: Any, real_a: jax.Array, real_b: jax.Array) -> tuple[Any, Batch]:
        """((the generated images of a and of b), the losses of the generators)."""
        fake_b, same_b = _call_on(model.generator_ab, real_a, real_b)
        fake_a, same_a = _call_on(model.generator_ba, real_b, real_a)
        adversarial = least_squares(model.discriminator_b(fake_b), 1)
        adversarial += least_squares(model.discriminator_a(fake_a), 1)
        cycle = l1(model.generator_ba(fake_b), real_a) + l1(model.generator_ab(fake_a), real_b)
        identity = l1(same_b, real_b) + l1(same_a, real_a)
        loss = adversarial + self.recipe.cycle_weight * cycle + self.recipe.identity_weight * identity
        losses = {"adversarial_loss": adversarial, "cycle_loss": cycle, "identity_loss": identity}
        return (fake_a, fake_b), {**losses, "generator_loss": loss}

    def _empty_pools(self, shape: tuple[int, ...]) -> Tree:
        """Empty pools for both domains and their image count; {} if pool_size is 0."""
        size, dtype = self.recipe.pool_size, jax.tree.leaves(self._params)[0].dtype
        if not size:
            return {}
        pools = {name: jnp.zeros((size, *shape), dtype) for name in ("pool_a", "pool_b")}
        return {**pools, "pool_count": jnp.zeros((), jnp.int32)}

    def _query_pools(self, pools: Tree, fakes: Any, noise: Batch) -> tuple[Tree, Any]:
        """(the pools after these generated images of a and of b, the images that they return)."""
        if not pools:
            return pools, fakes
        if pools["pool_a"].shape[1:] != fakes[0].shape[1:]:  # the certificate uses images of another shape
            pools = self._empty_pools(fakes[0].shape[1:])
        count = pools["pool_count"]
        (pool_a, past_a), (pool_b, past_b) = (
            query_pool(pools[name], count, images, noise["chance"][number], noise["slot"][number])
            for number, (name, images) in enumerate(zip(("pool_a", "pool_b"), fakes, strict=True))
        )
        count = jnp.minimum(count + len(fakes[0]), len(pool_a))
        return {"pool_a": pool_a, "pool_b": pool_b, "pool_count": count}, (past_a, past_b)

    def translate(self, state: TrainState, images: jax.Array, direction: str) -> jax.Array:
        """Images (N, H, W, 3) in [-1, 1] of one domain as images of the other.

        direction: "a_to_b" or "b_to_a". Errors: ValueError for any other direction.
        """
        source, target = look_up(self.directions, direction, "direction")
        model = self.model_def.eval(state.params, state.buffers)
        return getattr(model, f"generator_{source}{target}")(images)

    def translate_and_back(
        self, state: TrainState, images: jax.Array, direction: str
    ) -> tuple[jax.Array, jax.Array]:
        source, target = look_up(self.directions, direction, "direction")
        translated = self.translate(state, images, direction)
        return translated, self.translate(state, translated, f"{target}_to_{source}")

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        """Saves a grid per direction: a row of test images, their translations, the translations back."""
        split: Any = data.train if data.test is None else data.test
        batch = self.prepare_test({name: jnp.asarray(split[name][:NUM_IMAGES]) for name in ("a", "b")})
        for direction, (source, _) in self.directions.items():
            images = batch[source]
            rows = jnp.concatenate([images, *self._translate_and_back(state, images, direction)])
            save_grid(as_bytes(rows), path_of(direction), columns=len(images))


def _call_on(child: Any, *batches: jax.Array) -> list[jax.Array]:
    """The child's outputs for several batches, in one call.

    One call gives the same outputs, because instance norm normalizes every image separately.
    """
    return jnp.split(child(jnp.concatenate(batches)), len(batches))


def _discriminator_loss(discriminator: Any, real: jax.Array, fake: jax.Array) -> jax.Array:
    """Half the sum of both losses, as in the paper.

    The factor slows the discriminator relative to the generator.
    """
    on_real, on_fake = _call_on(discriminator, real, fake)
    return (least_squares(on_real, 1) + least_squares(on_fake, 0)) / 2
