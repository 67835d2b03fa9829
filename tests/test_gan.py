"""The adversarial family: losses, steps in lockstep with torch, averages, pictures, drawing, distances."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from PIL import Image

import torch_models
from convert import to_torch
from convert.compare import as_dtype, to_torch_input
from convert.lockstep import build_torch_optimizers
from convert.tolerances import TOLERANCES, difference
from convert.twins import TWINS, find_twin
from convert.weights import leaves_to_torch, plan
from tests.conftest import tiny_recipe
from tests.layer_twins import QUICK
from torch_models.steps import gan as torch_gan
from train import compare, evaluate, frechet, generate
from train.config import read_recipe
from train.loop import train
from train.recipes import RECIPES
from train.run import check
from train.runs import load_run
from train.state import abstract_model, build_model
from train.tasks import build_task
from train.tasks.gan_losses import LOSSES, gradient_penalty

FAMILY = [name for name, recipe in RECIPES.items() if recipe.task == "gan"]
HALVES = ("discriminator", "generator")
FORWARD, GRADIENT, STEPS = (getattr(TOLERANCES["float64"], n) for n in ("forward", "gradient", "steps"))


@pytest.fixture
def float64():
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


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


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("painter_gan", {"loss": "wasserstein", "critic_steps": 3, "weight_clip": 0.05}),
        ("gan", {"loss": "wasserstein", "critic_steps": 2, "gradient_penalty": 10.0}),
        ("lsgan", {"ema": 0.9}),
        (
            "gan",
            {
                "loss": "wasserstein",
                "critic_steps": 2,
                "gradient_penalty": 10.0,
                "instance_noise": 0.5,
                "steps": 4,
            },
        ),
    ],
)
def test_options_of_the_step_are_torchs(model, fields, float64):
    """Critic steps, clipping, the penalty, the noise and the average, five steps on the same numbers."""
    recipe = dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny), **fields)
    ours = build_model(recipe)
    for variable in jax.tree.leaves(nnx.state(ours), is_leaf=lambda v: isinstance(v, nnx.Variable)):
        if jnp.issubdtype(variable.dtype, jnp.floating):
            variable.set_value(variable[...].astype(jnp.float64))
    theirs = to_torch(ours, torch_models.MODELS[model](**recipe.options).double())
    task = build_task(recipe, ours)
    state, step = task.state(), jax.jit(task.step, compiler_options=QUICK)
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
    for child in ("generator", "discriminator"):
        compare_child(state.params[child], getattr(ours, child), getattr(theirs, child))
    if recipe.weight_clip:
        assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(state.params["discriminator"])) <= 0.05
    if recipe.ema:
        compare_child(state.extra["average"]["generator"], ours.generator, reference.average.module)
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
    recipe = tiny_recipe("gan", steps=10, instance_noise=0.5)
    still = dataclasses.replace(recipe.discriminator_optimizer, lr=0.0)
    task = build_task(dataclasses.replace(recipe, discriminator_optimizer=still), build_model(recipe))
    drawn, batch = task.draw(jax.random.key(0), 4), {"image": jnp.zeros((4, 28, 28, 1))}
    step = jax.jit(task.step)

    def change(noisy, number=0):
        """Of both losses by the noise of these names, at a step of the run."""
        silent = {name: jnp.zeros_like(drawn[name]) for name in ("real_noise", "fake_noise")}
        state = task.state()._replace(step=jnp.asarray(number))
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
    with pytest.raises(ValueError, match="needs a discriminator without batch norm: dcgan64's has it"):
        build_task(recipe, build_model(recipe))


@pytest.mark.parametrize("std", [0.02, 0.2])
def test_the_spread_of_dcgan64_is_one_option_for_both(std):
    ours = build_model(tiny_recipe("dcgan64", options={"channels": 8, "initial_std": std}))
    torch.manual_seed(0)
    theirs = torch_models.MODELS["dcgan64"](channels=8, initial_std=std)
    for weights in (
        [np.asarray(ours.generator.main[0].weight[...]), np.asarray(ours.discriminator.main[5].weight[...])],
        [theirs.generator.main[0].weight.detach(), theirs.discriminator.main[5].weight.detach()],
    ):
        assert all(float(weight.std()) == pytest.approx(std, rel=0.05) for weight in weights)
    for scale in (ours.generator.main[1].weight[...], theirs.generator.main[1].weight.detach()):
        assert float(scale.mean()) == pytest.approx(1, abs=std) and float(scale.std()) < 2 * std


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"critic_steps": 0}, "--critic-steps must be at least 1, got 0"),
        ({"critic_steps": 5, "batch_size": 4}, "--batch-size 4 leaves nothing for some of --critic-steps 5"),
        ({"instance_noise": -0.5}, "--instance-noise must not be negative, got -0.5"),
        ({"ema": 1.0}, "--ema must be at least 0 and less than 1, got 1.0"),
    ],
)
def test_a_run_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        check(tiny_recipe("gan", **fields))


@pytest.fixture(scope="module")
def conditional(tmp_path_factory, data_dir):
    """A finished tiny run of cgan that keeps an average."""
    workdir = tmp_path_factory.mktemp("runs") / "cgan"
    train(tiny_recipe("cgan", ema=0.5, sample_every=2), workdir, data_dir)
    return workdir


def test_a_run_draws_a_row_for_every_class_and_its_training_in_motion(conditional):
    with Image.open(conditional / "samples" / "samples_000006.png") as sheet:
        assert sheet.size == (2 * (8 * 30 + 2), 2 * (10 * 30 + 2))
    with Image.open(conditional / "samples" / "samples.gif") as motion:
        assert motion.n_frames == 3 and motion.size == sheet.size


def test_an_average_is_drawn_with_and_resumed(conditional, data_dir, tmp_path):
    run = load_run(conditional)
    task = build_task(run.recipe, run.model)
    codes, labels = np.ones((2, 96), np.float32), np.array([3, 4])
    drawn = task.generate(run.state, codes, labels)
    raw = task.generate(run.state._replace(extra={}), codes, labels)
    assert np.abs(drawn - raw).max() > 1e-6
    half = tmp_path / "half"
    recipe = tiny_recipe("cgan", ema=0.5, sample_every=2)
    train(dataclasses.replace(recipe, steps=4), half, data_dir)
    train(recipe, half, data_dir)
    again = load_run(half).state.extra
    assert jax.tree.all(jax.tree.map(np.array_equal, again, run.state.extra))


def test_drawing_by_seed_by_class_and_by_codes(conditional):
    pictures, labels = generate.generate(conditional, count=20, seed=1)
    assert pictures.shape == (20, 28, 28, 1) and labels.tolist() == [*range(10)] * 2
    assert np.abs(pictures).max() <= 1 and pictures.std() > 0
    again, _ = generate.generate(conditional, count=20, seed=1)
    other, _ = generate.generate(conditional, count=20, seed=2)
    assert np.array_equal(pictures, again) and not np.array_equal(pictures, other)
    threes, labels = generate.generate(conditional, count=4, seed=1, label="3")
    assert labels.tolist() == [3] * 4
    assert difference(threes[3], pictures[3]) < 1e-5
    (one,), _ = generate.generate(conditional, codes=np.zeros((1, 96), np.float32), label="3")
    assert one.shape == (28, 28, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "--count must be at least 1, got 0"),
        (["--class", "ten"], "unknown class 'ten'"),
        (["--codes", "1,2"], "a code of cgan has 96 numbers, got 2"),
        (["--codes", "1,2", "1"], "--codes have 2, 1 numbers: they must be alike"),
        (["--codes", "one"], "--codes takes numbers with commas between them, got 'one'"),
    ],
)
def test_what_cannot_be_drawn(conditional, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate.main([str(conditional), *arguments])


def test_pictures_are_written_as_a_grid_or_as_files(conditional, capsys):
    generate.main([str(conditional), "--count", "12", "--class", "7"])
    assert (conditional / "generated" / "samples.png").is_file()
    generate.main([str(conditional), "--count", "12", "--files"])
    files = sorted((conditional / "generated").glob("sample_*.png"))
    assert len(files) == 12
    with Image.open(files[0]) as picture:
        assert picture.size == (28, 28)
    assert "drew 12:" in capsys.readouterr().out


def test_curves_are_drawn_as_a_plot_and_a_table(tmp_path, data_dir, capsys):
    train(tiny_recipe("painter_gan", take=None), tmp_path / "run", data_dir)
    assert (tmp_path / "run" / "samples" / "curves_000006.png").is_file()
    generate.main([str(tmp_path / "run"), "--count", "5"])
    assert np.loadtxt(tmp_path / "run" / "generated" / "curves.csv", delimiter=",").shape == (5, 15)
    (found,) = frechet.distances(tmp_path / "run", data_dir)
    assert found.judge == "the heights themselves" and 0 <= found.test_split < 0.01 < found.distance


def test_the_frechet_distance_of_known_normal_distributions():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200_000, 3))
    b = a * [1, 2, 3] + [1, 0, 0]
    # The means are 1 apart; of diagonal covariances the rest is the squared differences of the deviations.
    assert frechet.frechet_distance(a, b) == pytest.approx(1 + 0 + 1 + 4, rel=0.02)
    assert frechet.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert frechet.frechet_distance(a @ rotation, b @ rotation) == pytest.approx(6, rel=0.02)


def test_a_generator_is_judged_by_a_classifier_that_is_trained_once(
    conditional, data_dir, monkeypatch, capsys
):
    small = dataclasses.replace(RECIPES["lenet5"], epochs=2)
    monkeypatch.setitem(RECIPES, "lenet5", small)
    evaluate.main([str(conditional), "--data-dir", str(data_dir)])
    (values,) = json.loads((conditional / "evaluation" / "distance.json").read_text())["distances"]
    assert values["examples"] == 1500 and values["made"] == "samples"
    assert values["judge"].startswith("lenet5 trained on digits, test accuracy")
    assert 0 < values["test_split"] < values["distance"]  # six steps draw nothing like digits
    assert "Fréchet distance" in capsys.readouterr().out
    evaluate.main([str(conditional), "--data-dir", str(data_dir), "--seed", "1"])
    (again,) = json.loads((conditional / "evaluation" / "distance.json").read_text())["distances"]
    assert again["distance"] != values["distance"] and again["judge"] == values["judge"]
    assert "epoch" not in capsys.readouterr().out  # nothing was trained


def test_figures_of_runs_that_differ_by_their_seed_stand_in_one_row():
    recipes = [tiny_recipe("gan", seed=n) for n in range(3)] + [tiny_recipe("gan", ema=0.9)]
    figures = [{"distance of samples": (value, 0.5)} for value in (1.0, 2.0, 3.0, 7.0)]
    *_, together, alone = evaluate.spread_table(recipes, figures).splitlines()
    assert together == "| gan (hidden_features 32) | distance of samples | 3 | 2 | 1 | 0.5 |"
    assert alone == "| gan (hidden_features 32) | distance of samples | 1 | 7 |  | 0.5 |"


def test_runs_are_compared_in_one_picture(conditional, tmp_path, data_dir, capsys):
    other = tmp_path / "other"
    train(tiny_recipe("cgan", steps=2, sample_every=2, options={"hidden_features": 16}), other, data_dir)
    compare.main([str(conditional), str(other), "--write", str(tmp_path / "both.png")])
    with Image.open(tmp_path / "both.png") as picture:
        assert picture.size == (2 * 6 * 120, 9 * 120)
    recipes = [read_recipe(folder) for folder in (conditional, other)]
    assert compare.difference(recipes[1], recipes) == "hidden features 16, channels 64, steps 2, ema None"
    assert "both.png" in capsys.readouterr().out
    with pytest.raises(ValueError, match="a comparison takes two run folders or more, got 1"):
        compare.main([str(other)])


def test_the_export_of_an_average_is_the_averaged_generator(conditional, monkeypatch):
    from convert import runs

    monkeypatch.setattr(runs, "verify", lambda *args, **kwargs: certificate())
    result = runs.run_to_torch(conditional, say=lambda line: None)
    assert result.exports.keys() == {"generator.torchscript.pt", "generator_average.torchscript.pt"}
    generator = torch.jit.load(conditional / "export" / "generator_average.torchscript.pt")
    pictures, labels = generate.generate(conditional, codes=np.ones((10, 96), np.float32))
    theirs = generator(torch.ones(10, 96), torch.tensor(labels)).detach().movedim(1, -1)
    assert difference(pictures, theirs.numpy()) <= TOLERANCES["float32"].forward


def certificate():
    from convert.certificate import Certificate

    return Certificate("cgan", {}, "", 0, 0, 0, {}, (), (), ())
