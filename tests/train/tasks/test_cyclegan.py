"""CycleGAN's training: the pool of past images, the falling rate, and runs."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image

import torch_models
from tests.conftest import tiny_recipe
from torch_models.steps.cyclegan import CycleGANStep, ImagePool
from train.data.feeds import make_feed
from train.data.load import load_data
from train.data.sources import Data
from train.data.transforms.ops import apply_transforms
from train.engine.checkpoints import Checkpoints
from train.engine.evaluation import frechet
from train.engine.sampling import Translations
from train.engine.steps import jit_steps
from train.optim import linear_decay
from train.recipes import RECIPES
from train.tasks import build_task
from train.tasks.cyclegan import query_pool
from train.tasks.models import abstract_model, build_model
from train.tasks.state import transformations_at

pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]
SMALLEST = {"width": 2, "blocks": 0}


# The pool


def plain_pool(images: list, size: int, chances: list, slots: list) -> list:
    """The authors' ImagePool, decided by given numbers."""
    kept, returned = [], []
    for image, chance, slot in zip(images, chances, slots, strict=True):
        if len(kept) < size:
            kept.append(image)
            returned.append(image)
        elif chance > 0.5:
            returned.append(kept[slot])
            kept[slot] = image
        else:
            returned.append(image)
    return returned


@pytest.mark.parametrize(("size", "batch"), [(5, 1), (5, 3), (4, 7)])
def test_both_pools_are_a_plain_one(size, batch):
    rng, steps = np.random.default_rng(size + batch), 12
    count = steps * batch
    chances, slots = rng.random((steps, batch)), rng.integers(0, size, (steps, batch))
    numbers = np.arange(1, count + 1)
    expected = plain_pool(numbers.tolist(), size, chances.ravel().tolist(), slots.ravel().tolist())
    assert len(set(expected)) < count and expected != sorted(expected)  # old ones do come out
    pool, theirs, ours_out, theirs_out = jnp.zeros((size, 1, 1, 1)), ImagePool(size), [], []
    held = 0
    for step in range(steps):
        images = numbers[step * batch :][:batch].astype(np.float32).reshape(batch, 1, 1, 1)
        pool, returned = query_pool(pool, jnp.asarray(held), images, chances[step], slots[step])
        held = min(held + batch, size)
        ours_out += np.asarray(returned).ravel().astype(int).tolist()
        given = torch.tensor(chances[step]), torch.tensor(slots[step])
        theirs_out += theirs.query(torch.tensor(images), *given).ravel().int().tolist()
    assert ours_out == theirs_out == expected


def small_task(build=abstract_model, **fields) -> Any:
    recipe = tiny_recipe("cyclegan", **{"options": SMALLEST, "batch_size": 2, "image_size": 24, **fields})
    return build_task(recipe, build(recipe))


def test_pools_follow_the_images_and_may_be_left_out():
    task = small_task(pool_size=3)
    pools = task.initial_state().extra
    assert pools["pool_a"].shape == pools["pool_b"].shape == (3, 24, 24, 3)
    noise = task.draw(jax.random.key(0), 2)
    assert noise["slot"].max() < 3 and noise["chance"].shape == (2, 2)
    fakes = jnp.ones((2, 32, 32, 3)), jnp.zeros((2, 32, 32, 3))  # of another size: the certificate's
    pools, past = task._query_pools(pools, fakes, noise)
    assert pools["pool_a"].shape == (3, 32, 32, 3) and int(pools["pool_count"]) == 2
    assert (past[0] == 1).all() and not past[1].any()
    without = small_task(pool_size=0)
    assert without.initial_state().extra == {} and without._query_pools({}, fakes, noise) == ({}, fakes)


def test_without_a_pool_torch_judges_new_images_alone():
    images = torch.rand(3, 3, 2, 2)
    assert torch.equal(ImagePool(0).query(images, torch.ones(3), torch.zeros(3, dtype=torch.int32)), images)


# The recipe and the rate


def test_both_domains_are_prepared_each_with_draws_of_its_own():
    task = small_task(transforms=("random_horizontal_flip", "normalize:0.5:0.5"))
    images = np.zeros((64, 24, 24, 3), np.uint8)
    images[:, :, 0] = 255
    key = jax.random.key(0)
    batch = task.prepare({"a": images, "b": images, "label": np.arange(64)}, key)
    a, b = (np.asarray(batch[name][:, 0, 0, 0] == -1) for name in ("a", "b"))
    assert 20 < a.sum() < 44 and 20 < b.sum() < 44 and not np.array_equal(a, b)
    assert (batch["label"] == np.arange(64)).all()
    alone = task.prepare({"image": images}, key)["image"]  # the key itself, as it always was
    assert np.array_equal(
        alone, apply_transforms(task.transforms, jnp.asarray(images, jnp.float32) / 255, key)
    )


def test_ones_own_folders_train_the_papers_networks():
    recipe: Any = RECIPES["cyclegan"].on("folders:horses,zebras")
    assert recipe.dataset == "folders:horses,zebras" and recipe.options == {}
    assert (recipe.batch_size, recipe.epochs, recipe.steps, recipe.image_size) == (1, 200, None, 256)
    task: Any = build_task(recipe, abstract_model(recipe))
    assert task.shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 30}, "multiples of 4 and at least 24, got 30x30: give another --image-size"),
        ({"image_size": 20}, "at least 24, got 20x20"),
        ({"transforms": ("random_crop:22",)}, "at least 24, got 22x22"),
        ({"decay_after": 1.5}, "decay_after is a fraction of the run, from 0 to 1, got 1.5"),
        ({"pool_size": -1}, "pool_size must not be negative, got -1"),
        ({"cycle_weight": float("nan")}, "cycle_weight must not be negative, got nan"),
    ],
)
def test_what_cannot_be_trained_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        recipe = tiny_recipe("cyclegan", **fields)
        build_task(recipe, abstract_model(recipe))


@pytest.mark.parametrize(("steps", "after"), [(10, 0.5), (7, 0.3), (10, 0.0), (10, 1.0), (None, 0.5)])
def test_the_rates_fall_as_torchs_do(steps, after):
    model = torch_models.MODELS["cyclegan"](**SMALLEST)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    recipe = dataclasses.replace(RECIPES["cyclegan"], steps=steps, decay_after=after)
    reference = CycleGANStep(model, {"generator_ab": optimizer}, **recipe.step_options)
    expected = []
    for _ in range(10):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.schedules["generator_ab"].step()
    with jax.enable_x64(True):
        ours = [float(0.2 * linear_decay(jnp.asarray(step), steps, after)) for step in range(10)]
    np.testing.assert_allclose(ours, expected, rtol=1e-15, atol=1e-16)
    if (steps, after) == (10, 0.5):
        np.testing.assert_allclose(ours, [0.2] * 6 + [0.16, 0.12, 0.08, 0.04])
    if steps is None or after == 1:
        assert ours == [0.2] * 10


def test_the_rate_follows_the_run_and_not_the_optimizers_own_count():
    task = small_task(steps=10)
    moments = task.transformations["generator_ab"].init({"w": jnp.ones(())})
    moments = moments._replace(step=jnp.asarray(1000))

    def moved(step):
        generator: Any = transformations_at(task.recipe, step)["generator_ab"]
        update, _ = generator.update({"w": jnp.ones(())}, moments)
        return float(update["w"])

    assert moved(5) == moved(0) < 0 and moved(9) == pytest.approx(moved(0) / 5) and moved(10) == 0


def test_an_unknown_direction_is_named():
    task = small_task()
    with pytest.raises(ValueError, match="unknown direction 'a_to_c': did you mean a_to_b"):
        task.translate(task.initial_state(), jnp.zeros((1, 24, 24, 3)), "a_to_c")


# Runs


@pytest.mark.heavy
def test_a_run_that_continues_ends_on_the_same_bits(tmp_path):
    task = small_task(build_model, pool_size=3, steps=6)
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (8, 24, 24, 3), np.uint8) for name in ("a", "b")}
    call = jit_steps(task, make_feed(images, batch_size=2, shuffle=True, seed=0), 1)

    def at_the_end(state, first, last):
        feed = make_feed(images, batch_size=2, shuffle=True, seed=0)
        losses = {}
        for step in range(first, last):
            state, losses = call(state, feed.inputs(step, 1), 1)
        assert all(np.isfinite(value) for value in losses.values())
        return state

    half = at_the_end(jax.tree.map(jnp.copy, task.initial_state()), 0, 3)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(half)
        checkpoints.wait()
        begun = np.asarray(half.extra["pool_a"])
        whole = at_the_end(half, 3, 6)
        restored, _ = checkpoints.restore(task.initial_state())
    assert int(whole.step) == 6 and int(whole.extra["pool_count"]) == 3
    assert begun.all((1, 2, 3)).any() and not np.array_equal(begun, whole.extra["pool_a"])
    again = at_the_end(restored, 3, 6)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, whole, again)))


def test_images_show_both_ways_and_back(tmp_path):
    task = small_task(build_model)
    split = {name: np.full((9, 24, 24, 3), value, np.uint8) for name, value in (("a", 40), ("b", 200))}
    task.save_images(task.initial_state(), Data(split, None, {}), lambda name: tmp_path / f"{name}.png")
    for name, value in (("a_to_b", 40), ("b_to_a", 200)):
        with Image.open(tmp_path / f"{name}.png") as sheet:
            assert sheet.size == (8 * 26 * 2 + 4, 3 * 26 * 2 + 4)  # 8 images; what comes of them; and back
            pixels = np.asarray(sheet)
        assert (pixels[4:52, 4:52] == value).all() and (pixels[56:104, 4:52] != value).any()


def test_translations_are_compared_with_the_domain_that_they_go_into(tmp_path, data_dir, monkeypatch):
    """A translator that returns the test images of the other domain is as far from it as those are."""
    data = load_data("digits_to_photos", data_dir, kind="pair")
    assert isinstance(data.test, dict)
    real = {name: data.test[name].astype(np.float32) / 127.5 - 1 for name in ("a", "b")}
    colours = frechet.FeatureExtractor("mean colours", _colours)
    monkeypatch.setattr(frechet, "feature_extractor_for", lambda *_: colours)
    task = small_task(image_size=32)
    run: Any = SimpleNamespace(recipe=RECIPES["cyclegan"], task=task)

    def distances(target_of):
        made = {
            d: Translations(real[a], real[target_of(a, b)], real[a]) for d, (a, b) in task.directions.items()
        }
        monkeypatch.setattr(frechet, "translate", lambda *_: made)
        return frechet.evaluate_translations(run, data, data_dir).distances

    ideal, untouched = distances(lambda a, b: b), distances(lambda a, b: a)
    assert [found.made for found in ideal] == ["a_to_b", "b_to_a"] and ideal[0].examples == 1188
    for found, worse in zip(ideal, untouched, strict=True):
        assert found.distance == pytest.approx(found.test_split, rel=1e-3)
        assert worse.distance > 2 * found.distance, (worse, found)


def _colours(images):
    """Mean colours of images in uint8, or of numbers in [0, 1]."""
    return (images / 255 if images.dtype == np.uint8 else images).mean((1, 2))
