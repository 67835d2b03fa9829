"""The adversarial family: losses, and the options of a step in lockstep with torch."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from convert.certificate.calls import as_dtype, to_torch_input
from convert.certificate.tolerances import difference
from convert.optimizers import build_torch_optimizers
from convert.twins import TWINS, find_twin
from convert.weights import leaves_to_torch, plan
from tests.agreement import FORWARD, GRADIENT, STEPS
from tests.compilation import QUICK
from tests.conftest import tiny_recipe
from tests.pairs import model_pair
from torch_models.steps import gan as torch_gan
from train.recipes import RECIPES
from train.tasks import build_task
from train.tasks.gan import translate
from train.tasks.losses.adversarial import LOSSES, gradient_penalty
from train.tasks.models import abstract_model, build_model

pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]
FAMILY = [name for name, recipe in RECIPES.items() if recipe.task == "gan"]
HALVES = ("discriminator", "generator")


def test_the_family_is_here():
    assert set(FAMILY) == {
        "gan", "lsgan", "dcgan", "dcgan64", "mlp_gan", "painter_gan", "wgan", "wgan_gp", "cgan",
    }  # fmt: skip
    assert LOSSES.keys() == torch_gan.LOSSES.keys()


PROBABILITIES = {"probability", "half_probability", "minimax"}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_slopes_are_torchs(name, float64):
    rng = np.random.default_rng(0)
    real, fake = rng.uniform(0.05, 0.95, (2, 7, 1)) if name in PROBABILITIES else rng.normal(size=(2, 7, 1))
    tensors = [torch.tensor(values, requires_grad=True) for values in (real, fake)]
    for ours, theirs, count in zip(LOSSES[name], torch_gan.LOSSES[name], (2, 1), strict=True):
        arrays, given = (real, fake)[-count:], tensors[-count:]
        value, slopes = jax.value_and_grad(lambda both, f=ours: f(*both))(tuple(map(jnp.asarray, arrays)))
        expected = theirs(*given)
        assert difference(value, expected.detach().numpy()) <= FORWARD
        for slope, other in zip(slopes, torch.autograd.grad(expected, given), strict=True):
            assert difference(slope, other.numpy()) <= GRADIENT


def test_the_losses_mean_what_they_say():
    real, fake = jnp.array([[0.9], [0.7]]), jnp.array([[0.2], [0.4]])
    log = np.log
    expected = -(log(0.9) + log(0.7)) / 2 - (log(0.8) + log(0.6)) / 2
    assert LOSSES["probability"][0](real, fake) == pytest.approx(expected, rel=1e-5)
    assert LOSSES["half_probability"][0](real, fake) == pytest.approx(expected / 2, rel=1e-5)
    assert LOSSES["minimax"][0](real, fake) == pytest.approx(expected, rel=1e-5)
    assert LOSSES["minimax"][1](fake) == pytest.approx((log(0.8) + log(0.6)) / 2, rel=1e-5)
    assert LOSSES["least_squares"][0](real, fake) == pytest.approx((0.1 + 0.2) / 4, rel=1e-5)
    assert LOSSES["wasserstein"][0](real, fake) == pytest.approx(0.3 - 0.8, rel=1e-5)


def test_the_gradient_penalty_of_a_plane_and_of_a_flat_place():
    real, fake = jnp.ones((3, 2)), jnp.zeros((3, 2))
    mix = jnp.array([0.0, 0.5, 1.0])
    assert gradient_penalty(lambda x: x @ jnp.array([[3.0], [4.0]]), real, fake, mix) == pytest.approx(16)
    flat = jax.value_and_grad(
        lambda w: gradient_penalty(lambda x: w * (x @ jnp.zeros((2, 1))), real, fake, mix)
    )
    value, slope = flat(1.0)
    assert value == 1 and slope == 0  # torch's norm has the slope 0 there


WASSERSTEIN = {"loss": "wasserstein", "critic_steps": 2, "gradient_penalty": 10.0}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("painter_gan", {"loss": "wasserstein", "critic_steps": 3, "weight_clip": 0.05}),
        pytest.param("gan", WASSERSTEIN, marks=pytest.mark.heavy),
        ("lsgan", {"ema": 0.9, "translation": 3, "decay_after": 0.3, "steps": 6}),
        ("gan", {**WASSERSTEIN, "instance_noise": 0.5, "final_instance_noise": 0.2, "steps": 4}),
    ],
)
def test_options_of_the_step_are_torchs(model, fields, float64):
    """All options that change a step, five steps on the same numbers."""
    recipe: Any = dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny), **fields)
    ours, theirs = model_pair(model)
    task = build_task(recipe, ours)
    state, step = task.initial_state(), jax.jit(task.step, compiler_options=QUICK)
    reference = torch_gan.GANStep(theirs, build_torch_optimizers(recipe, theirs), **recipe.step_options)
    rng = np.random.default_rng(0)
    for number in range(5):
        batch = {
            name: as_dtype(example.draw(rng, 7), np.float64)
            for name, example in find_twin(model, recipe.options).batch.items()
        }
        noise = {k: np.asarray(v) for k, v in task.draw(jax.random.key(number), 7).items()}
        state, losses = step(state, jax.tree.map(jnp.asarray, batch), noise)
        expected = reference(*({k: to_torch_input(v) for k, v in given.items()} for given in (batch, noise)))
        assert all(difference(losses[k], expected[k].numpy()) <= STEPS for k in expected)
    for child in HALVES:
        compare_child(state.params[child], getattr(ours, child), getattr(theirs, child))
    if recipe.weight_clip:
        assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(state.params["discriminator"])) <= 0.05
    if recipe.ema:
        assert reference.average is not None
        averages = reference.average.module
        compare_child(state.extra["average"]["generator"], ours.generator, averages)
        moved = jax.tree.map(jnp.subtract, state.extra["average"]["generator"], state.params["generator"])
        assert any(jnp.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves(moved))


def compare_child(params, ours, theirs):
    flat = {path: np.asarray(v) for path, v in nnx.to_flat_state(nnx.State(params))}
    arrays = leaves_to_torch([leaf for leaf in plan(ours) if leaf.path in flat], flat)
    parameters = dict(theirs.named_parameters())
    assert arrays.keys() == parameters.keys()
    for name, array in arrays.items():
        assert difference(array, parameters[name].detach().numpy()) <= STEPS, name


def test_instance_noise_is_on_real_and_on_generated_examples_and_falls_to_nothing():
    recipe = tiny_recipe("gan", steps=10, instance_noise=0.5, final_instance_noise=0.0)
    still = dataclasses.replace(recipe.discriminator_optimizer, lr=0.0)
    task = build_task(dataclasses.replace(recipe, discriminator_optimizer=still), build_model(recipe))
    drawn, batch = task.draw(jax.random.key(0), 4), {"image": jnp.zeros((4, 28, 28, 1))}
    step = jax.jit(task.step, compiler_options=QUICK)

    def change(noisy, number=0):
        """Of both losses by the noise of these names, at a step of the run."""
        silent = {name: jnp.zeros_like(drawn[name]) for name in ("real_noise", "fake_noise")}
        state = task.initial_state()._replace(step=jnp.asarray(number))
        noises = [{**drawn, **silent, **{name: drawn[name] for name in names}} for names in (noisy, ())]
        (_, with_noise), (_, without) = (step(state, batch, noise) for noise in noises)
        return [abs(float(with_noise[f"{who}_loss"] - without[f"{who}_loss"])) for who in HALVES]

    on_real, on_fake = change(["real_noise"]), change(["fake_noise"])
    assert on_real[0] > 1e-3 and on_real[1] == 0
    assert min(on_fake) > 1e-3
    late, last = (change(["real_noise", "fake_noise"], number) for number in (9, 10))
    assert all(0 < small < large / 5 for small, large in zip(late, on_fake, strict=True)) and last == [0, 0]


@pytest.mark.parametrize(
    ("model", "shape"), [("gan", (28, 28, 1)), ("cgan", (28, 28, 1)), ("painter_gan", (15,))]
)
def test_instance_noise_has_the_examples_shape(model, shape):
    recipe = tiny_recipe(model, instance_noise=0.5)
    noise = build_task(recipe, abstract_model(recipe)).draw(jax.random.key(0), 64)
    assert noise["real_noise"].shape == noise["fake_noise"].shape == (64, *shape)
    assert not np.allclose(noise["real_noise"], noise["fake_noise"])
    assert float(noise["real_noise"].std()) == pytest.approx(1, abs=0.1)


def test_a_penalty_refuses_a_discriminator_with_batch_norm():
    recipe = tiny_recipe("dcgan64", gradient_penalty=10.0)
    with pytest.raises(
        ValueError, match="without batch norm, but the discriminator of dcgan64 has batch norm"
    ):
        build_task(recipe, build_model(recipe))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"critic_steps": 0}, "critic_steps must be at least 1, got 0"),
        ({"critic_steps": 5, "batch_size": 4}, "batch_size 4 is less than the 5 parts of a batch"),
        ({"instance_noise": -0.5}, "instance_noise must not be negative, got -0.5"),
        ({"ema": 1.0}, "ema must be at least 0 and less than 1, got 1.0"),
        ({"decay_after": -0.1}, "decay_after is a fraction of the run, from 0 to 1, got -0.1"),
    ],
)
def test_a_run_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        tiny_recipe("gan", **fields)


def test_a_translation_moves_images_and_repeats_their_border():
    image = np.arange(12.0, dtype=np.float32).reshape(1, 3, 4, 1)
    images, shifts = np.repeat(image, 3, axis=0), np.array([[0, 0], [1, -2], [-3, 1]], np.int32)
    moved = np.asarray(translate(jnp.asarray(images), jnp.asarray(shifts)))[..., 0]
    np.testing.assert_array_equal(moved[0], image[0, ..., 0])
    np.testing.assert_array_equal(moved[1], [[2, 3, 3, 3], [2, 3, 3, 3], [6, 7, 7, 7]])
    np.testing.assert_array_equal(moved[2], np.tile([8, 8, 9, 10], (3, 1)))
    reference = torch_gan.translate(to_torch_input(images), torch.tensor(shifts))
    np.testing.assert_array_equal(moved, reference[:, 0].numpy())


def test_only_images_are_translated():
    recipe = tiny_recipe("painter_gan", take=None, translation=2)
    with pytest.raises(ValueError, match=r"translation moves images, but painter_gan makes \(15,\)"):
        build_task(recipe, build_model(recipe))


def test_every_translation_up_to_the_largest_is_drawn():
    recipe = tiny_recipe("gan", translation=2)
    noise = build_task(recipe, build_model(recipe)).draw(jax.random.key(0), 200)
    for name in ("real_shift", "fake_shift"):
        assert noise[name].shape == (200, 2) and set(np.unique(noise[name])) == {-2, -1, 0, 1, 2}
    assert not np.array_equal(noise["real_shift"], noise["fake_shift"])


def test_the_average_has_the_running_statistics_of_its_weights():
    recipe = tiny_recipe("mlp_gan", ema=0.5)
    task = build_task(recipe, build_model(recipe))
    state, step = task.initial_state(), jax.jit(task.step, compiler_options=QUICK)
    batch = {"image": jnp.ones((16, 28, 28, 1))}
    seen = []
    for number in range(3):
        state, _ = step(state, batch, task.draw(jax.random.key(number), 16))
        seen.append(running_mean(state.buffers))
    expected = 0.5 * (0.5 * seen[0] + 0.5 * seen[1]) + 0.5 * seen[2]
    np.testing.assert_allclose(running_mean(state.extra["average_buffers"]), expected, rtol=1e-5, atol=1e-7)


def running_mean(buffers):
    flat = nnx.to_flat_state(nnx.State(buffers))
    return next(np.asarray(value) for path, value in flat if path[-1] == "running_mean")
