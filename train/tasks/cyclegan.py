"""Translating between two domains of pictures without pairs: a step of both generators, then of both
discriminators.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (2017), as
in the authors' code: least squares, and a pool of past images for the discriminators.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from train.config import CycleGANRecipe
from train.lookup import look_up
from train.optim import OPTIMIZERS, linear_decay
from train.pictures import as_bytes, save_grid
from train.runs import picture_shape
from train.state import TrainState, Tree, buffers_of, descend
from train.tasks import base

GENERATORS, DISCRIMINATORS = ("generator_ab", "generator_ba"), ("discriminator_a", "discriminator_b")
DIRECTIONS = dict(zip(("a_to_b", "b_to_a"), GENERATORS, strict=True))
PICTURE_COUNT = 8


def least_squares(scores: jax.Array, target: float) -> jax.Array:
    """The mean squared distance of the patches' scores from 1, real, or 0, generated."""
    return jnp.square(scores - target).mean()


def l1(a: jax.Array, b: jax.Array) -> jax.Array:
    """The mean distance of two batches of pictures, value by value."""
    return jnp.abs(a - b).mean()


def query_pool(
    pool: jax.Array, count: jax.Array, images: jax.Array, chances: jax.Array, slots: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(the pool after images (N, H, W, C), what comes out of it (N, H, W, C)). Shrivastava et al. 2017.

    pool: (P, H, W, C), of which the first `count` hold an image. While it is not full, a new image is
    kept and comes out. Then, where its chance (N,) is above 1/2, it takes the place of the image in its
    slot (N,), which comes out; else it comes out itself. Image after image.
    """

    def query(carry, new):
        pool, count = carry
        image, chance, slot = new
        full = count >= len(pool)
        place = jnp.where(full, slot, count)
        old, swapped = pool[place], full & (chance > 0.5)
        pool = pool.at[place].set(jnp.where(swapped | ~full, image, old))
        return (pool, count + 1), jnp.where(swapped, old, image)

    (pool, _), returned = jax.lax.scan(query, (pool, count), (images, chances, slots))
    return pool, returned


class Task(base.Task):
    """The model has the children `generator_ab`, `generator_ba`, `discriminator_a`, `discriminator_b`."""

    def __init__(self, recipe: CycleGANRecipe, model: nnx.Module):
        super().__init__(recipe, model)
        _check(recipe)
        shape = picture_shape(recipe)
        assert shape is not None, "the model's own data set has a shape"
        self.shape = self.transforms.output_shape(shape)
        if min(self.shape[:2]) < 24 or any(side % 4 for side in self.shape[:2]):
            raise ValueError(
                f"{recipe.model} takes pictures whose sides are multiples of 4 from 24 on, and these are "
                f"{self.shape[0]}x{self.shape[1]}: give another --image-size"
            )
        self.transformations = {child: self._transformation(child, 0) for child in recipe.optimizers}
        self._rows = jax.jit(self.translated_rows, static_argnums=2)

    def state(self) -> TrainState:
        return super().state()._replace(extra=self._empty_pools(self.shape))

    def draw(self, key: jax.Array, batch_size: int) -> base.Batch:
        """For the pools of a and b: {"chance": (2, batch_size) in [0, 1), "slot": (2, batch_size) int32}."""
        chance, slot = jax.random.split(key)
        shape, size = (2, batch_size), max(1, self.recipe.pool_size)
        return {
            "chance": jax.random.uniform(chance, shape),
            "slot": jax.random.randint(slot, shape, 0, size, jnp.int32),
        }

    def step(self, state: TrainState, batch: base.Batch, noise: base.Batch) -> tuple[TrainState, base.Batch]:
        real_a, real_b = batch["a"], batch["b"]

        def generators_loss(params):
            model = self.model(params, state.buffers, noise)
            fakes, losses = self._generate(model, real_a, real_b)
            return losses["generator_loss"], (buffers_of(model), (fakes, losses))

        transformations = [self._transformation(child, state.step) for child in GENERATORS]
        state, _, (fakes, losses) = descend(state, GENERATORS, transformations, generators_loss)
        extra, (past_a, past_b) = self._query_pools(state.extra, fakes, noise)

        def discriminators_loss(params):
            model = self.model(params, state.buffers, noise)
            loss_a = _discriminator_loss(model.discriminator_a, real_a, past_a)
            loss_b = _discriminator_loss(model.discriminator_b, real_b, past_b)
            judged = {"discriminator_a_loss": loss_a, "discriminator_b_loss": loss_b}
            return loss_a + loss_b, (buffers_of(model), judged)

        transformations = [self._transformation(child, state.step) for child in DISCRIMINATORS]
        state, _, judged = descend(state, DISCRIMINATORS, transformations, discriminators_loss)
        return state._replace(step=state.step + 1, extra=extra), {**losses, **judged}

    def _generate(self, model: Any, real_a: jax.Array, real_b: jax.Array) -> tuple[Any, base.Batch]:
        """((fakes of a, fakes of b), the losses of the generators)."""
        fake_b, same_b = _called(model.generator_ab, real_a, real_b)
        fake_a, same_a = _called(model.generator_ba, real_b, real_a)
        adversarial = least_squares(model.discriminator_b(fake_b), 1)
        adversarial += least_squares(model.discriminator_a(fake_a), 1)
        cycle = l1(model.generator_ba(fake_b), real_a) + l1(model.generator_ab(fake_a), real_b)
        identity = l1(same_b, real_b) + l1(same_a, real_a)
        loss = adversarial + self.recipe.cycle_weight * cycle + self.recipe.identity_weight * identity
        losses = {"adversarial_loss": adversarial, "cycle_loss": cycle, "identity_loss": identity}
        return (fake_a, fake_b), {**losses, "generator_loss": loss}

    def _transformation(self, child: str, step: Any) -> optax.GradientTransformation:
        """The optimizer of a child, at the rate of this step of the run.

        The optimizer's own count of steps will not do: it goes on where weights and moments are brought
        into a run that begins.
        """
        optimizer = self.recipe.optimizers[child]
        rate = optimizer.lr * linear_decay(step, self.recipe.steps, self.recipe.decay_after)
        arguments = {**dataclasses.asdict(optimizer), "lr": lambda _: rate}
        return OPTIMIZERS[type(optimizer).__name__](**arguments)

    def _empty_pools(self, shape: tuple[int, ...]) -> Tree:
        """Room for the images of both domains, and how many have come to each; nothing without pools."""
        size, dtype = self.recipe.pool_size, jax.tree.leaves(self._params)[0].dtype
        if not size:
            return {}
        pools = {name: jnp.zeros((size, *shape), dtype) for name in ("pool_a", "pool_b")}
        return {**pools, "pool_count": jnp.zeros((), jnp.int32)}

    def _query_pools(self, pools: Tree, fakes: Any, noise: base.Batch) -> tuple[Tree, Any]:
        """(the pools after these fakes of a and of b, what the discriminators see of them)."""
        if not pools:
            return pools, fakes
        if pools["pool_a"].shape[1:] != fakes[0].shape[1:]:  # the certificate's pictures: its pools are empty
            pools = self._empty_pools(fakes[0].shape[1:])
        count = pools["pool_count"]
        (pool_a, past_a), (pool_b, past_b) = (
            query_pool(pools[name], count, images, noise["chance"][number], noise["slot"][number])
            for number, (name, images) in enumerate(zip(("pool_a", "pool_b"), fakes, strict=True))
        )
        count = jnp.minimum(count + len(fakes[0]), len(pool_a))
        return {"pool_a": pool_a, "pool_b": pool_b, "pool_count": count}, (past_a, past_b)

    def translate(self, state: TrainState, images: jax.Array, direction: str) -> jax.Array:
        """Pictures (N, H, W, 3) in [-1, 1] of one domain as pictures of the other.

        direction: "a_to_b" or "b_to_a"; ValueError for another.
        """
        generator = look_up(DIRECTIONS, direction, "direction")
        return getattr(self.blueprint.eval(state.params, state.buffers), generator)(images)

    def translated_rows(self, state: TrainState, images: jax.Array, direction: str) -> jax.Array:
        """A row of pictures, one of their translations, one of what comes back: (3 N, H, W, 3) in [-1, 1]."""
        (back,) = DIRECTIONS.keys() - {direction}
        there = self.translate(state, images, direction)
        rows = jnp.concatenate([images, there, self.translate(state, there, back)])
        return rows

    def save_pictures(self, state: TrainState, data: Any, path_of: base.PathOf) -> None:
        split = data.train if data.test is None else data.test
        batch = self.prepare_test({name: jnp.asarray(split[name][:PICTURE_COUNT]) for name in ("a", "b")})
        for direction in DIRECTIONS:
            images = batch[direction[0]]
            rows = self._rows(state, images, direction)
            save_grid(as_bytes(rows), path_of(direction), columns=len(images))


def _called(child: Any, *batches: jax.Array) -> list[jax.Array]:
    """The child's outputs for each of some batches, in one call: instance norms see every picture alone."""
    return jnp.split(child(jnp.concatenate(batches)), len(batches))


def _discriminator_loss(discriminator: Any, real: jax.Array, fake: jax.Array) -> jax.Array:
    """Half the sum of both, as in the paper, which slows the discriminator against the generator."""
    on_real, on_fake = _called(discriminator, real, fake)
    return (least_squares(on_real, 1) + least_squares(on_fake, 0)) / 2


def _check(recipe: CycleGANRecipe) -> None:
    """ValueError for a field that no run can have."""
    if not 0 <= recipe.decay_after <= 1:
        raise ValueError(f"--decay-after is a share of the run, from 0 to 1, got {recipe.decay_after}")
    for name in ("cycle_weight", "identity_weight", "pool_size"):
        value = getattr(recipe, name)
        if not value >= 0:
            raise ValueError(f"--{name.replace('_', '-')} must not be negative, got {value}")
