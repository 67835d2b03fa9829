"""Autoencoding: its losses, its evaluation, and the images that it saves."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from PIL import Image
from torch.distributions import Normal, kl_divergence

import torch_models
from convert import to_torch
from convert.certificate.tolerances import TOLERANCES
from convert.formats import FORMATS
from convert.formats.alone import check_export
from convert.optimizers import build_torch_optimizers
from convert.twins import find_twin
from tests.conftest import tiny_recipe
from tests.pairs import model_pair
from torch_models.steps import REFERENCE_STEPS
from train.data.sources import Source
from train.engine.evaluation.split import SplitEvaluator
from train.engine.loop import train
from train.engine.metrics import read_metrics
from train.engine.runs import load_run
from train.recipes import RECIPES, load_recipe_data
from train.tasks import build_task
from train.tasks.autoencode import COLUMNS
from train.tasks.models import build_model

pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]
AUTOENCODERS = ("autoencoder", "conv_autoencoder", "vae")


class Runs(dict[str, Path]):
    """{model: the folder of a finished run of its small variant}, trained when a test asks for it."""

    def __init__(self, folder: Path, data_dir: Path):
        super().__init__()
        self.folder, self.data_dir = folder, data_dir

    def __missing__(self, model: str) -> Path:
        """Two epochs on 512 digits."""
        recipe = tiny_recipe(model, steps=None, epochs=2, batch_size=64, take=512, sample_every=8)
        train(recipe, self.folder / model, self.data_dir, quiet=True)
        self[model] = self.folder / model
        return self[model]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data_dir):
    return Runs(tmp_path_factory.mktemp("runs"), data_dir)


def loaded(folder, data_dir) -> Any:
    """(task, state, data) of a run."""
    run = load_run(folder)
    return build_task(run.recipe, run.model), run.state, load_recipe_data(run.recipe, data_dir)


def saved_images(folder):
    """{name: the arrays of its images over the run}."""
    found = {}
    for path in sorted((folder / "samples").glob("*.png")):
        found.setdefault(path.stem.rsplit("_", 1)[0], []).append(np.asarray(Image.open(path)))
    return found


def from_pixels(path):
    """A grid of 28x28 images, enlarged twice with gaps of 2 -> (N, 28, 28) uint8."""
    sheet = np.asarray(Image.open(path))[::2, ::2]
    rows, columns = ((size - 2) // 30 for size in sheet.shape)
    return sheet[2:, 2:].reshape(rows, 30, columns, 30)[:, :28, :, :28].swapaxes(1, 2).reshape(-1, 28, 28)


def step_losses(model):
    """(the Flax step's losses, the batch, the noise, the model before the step) in float64."""
    recipe = tiny_recipe(model)
    ours = model_pair(model).ours
    task = build_task(recipe, ours)
    image = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1))
    noise = task.draw(jax.random.key(0), 4)
    _, losses = jax.jit(task.step)(task.initial_state(), {"image": jnp.asarray(image)}, noise)
    return losses, image, noise, ours


def test_the_loss_of_a_vae_is_that_of_torchs_distributions():
    with jax.enable_x64(True):
        losses, image, noise, model = step_losses("vae")
        output, mean, logvar = nnx.jit(lambda model, *inputs: model(*inputs))(model, image, noise["eps"])
    latent = Normal(torch.tensor(np.asarray(mean)), torch.tensor(np.asarray(logvar)).div(2).exp())
    kl = float(kl_divergence(latent, Normal(0, 1)).sum()) / 4
    errors = float(np.square(np.asarray(output) - image).sum()) / 4
    assert set(losses) == {"loss", "reconstruction_loss", "kl_loss"}
    assert float(losses["kl_loss"]) == pytest.approx(kl, rel=1e-12) and kl > 0.01
    assert float(losses["reconstruction_loss"]) == pytest.approx(errors, rel=1e-12)
    assert float(losses["loss"]) == pytest.approx(errors + kl, rel=1e-12)


def test_the_loss_is_the_sum_of_squared_errors_over_the_batch_size():
    with jax.enable_x64(True):
        losses, image, noise, ours = step_losses("autoencoder")
        _, output = nnx.jit(lambda model, image: model(image))(ours, image)
    assert noise == {} and set(losses) == {"loss"}
    assert float(losses["loss"]) == pytest.approx(np.square(np.asarray(output) - image).sum() / 4, rel=1e-12)


def test_the_reference_step_has_the_losses_of_its_task():
    recipe = tiny_recipe("vae")
    model = torch_models.MODELS["vae"](**recipe.options)
    before = [p.clone() for p in model.parameters()]
    step = REFERENCE_STEPS["autoencode"](model, build_torch_optimizers(recipe, model), **recipe.step_options)
    losses = step({"image": torch.rand(4, 1, 28, 28)}, {"eps": torch.randn(4, 20)})
    assert losses["loss"] == losses["reconstruction_loss"] + losses["kl_loss"]
    assert all(not a.equal(b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_vae_is_evaluated_at_the_mean_of_every_latent(runs, data_dir):
    task, state, data = loaded(runs["vae"], data_dir)
    metrics = SplitEvaluator(task, data.test, 64)(state)
    model = task.model_def.eval(state.params, state.buffers)
    images = task.prepare_test({name: jnp.asarray(array) for name, array in data.test.items()})["image"]
    mean, logvar = model.encoder(images)
    errors = jnp.square(model.decoder(mean) - images).sum() / len(images)
    kl = 0.5 * (jnp.square(mean) + jnp.exp(logvar) - 1 - logvar).sum() / len(images)
    assert metrics["test_reconstruction_loss"] == pytest.approx(float(errors), rel=1e-5)
    assert metrics["test_kl_loss"] == pytest.approx(float(kl), rel=1e-4)
    assert metrics["test_loss"] == pytest.approx(float(errors + kl), rel=1e-5)
    last = read_metrics(runs["vae"])[-1]
    assert last["test_loss"] == pytest.approx(metrics["test_loss"], rel=1e-5)
    assert {"loss", "kl_loss", "reconstruction_loss"} <= last.keys()


@pytest.mark.parametrize("model", AUTOENCODERS)
def test_training_brings_the_loss_down(runs, model):
    evaluated = [record["test_loss"] for record in read_metrics(runs[model]) if "test_loss" in record]
    assert len(evaluated) == 2 and evaluated[1] < evaluated[0]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("autoencoder", {"reconstructions", "walk", "codes"}),
        ("conv_autoencoder", {"reconstructions", "walk"}),
        ("vae", {"reconstructions", "walk", "samples"}),
    ],
)
def test_images_show_something_and_change_as_training_goes(runs, model, names):
    found = saved_images(runs[model])
    assert set(found) == names
    for sheets in found.values():
        assert len(sheets) > 1 and sheets[-1].std() > 5
        assert not np.array_equal(sheets[0], sheets[-1])


def test_below_a_row_of_test_images_are_their_reconstructions(runs, data_dir, tmp_path):
    task, state, data = loaded(runs["conv_autoencoder"], data_dir)
    task.save_images(state, data, lambda name: tmp_path / f"{name}.png")
    rows = from_pixels(tmp_path / "reconstructions.png").reshape(-1, 2, COLUMNS, 28, 28)
    places = np.linspace(0, len(data.test["image"]) - 1, 2 * COLUMNS).round().astype(int)
    originals = data.test["image"][places]
    np.testing.assert_array_equal(rows[:, 0].reshape(-1, 28, 28), originals[..., 0])
    images = jnp.asarray(originals, jnp.float32) / 127.5 - 1
    decode = jax.jit(lambda state, images: task.sample(state, task.encode(state, images)))
    decoded = np.asarray(decode(state, images))[..., 0]
    np.testing.assert_allclose(rows[:, 1].reshape(-1, 28, 28) / 127.5 - 1, decoded, atol=2 / 255)


def test_a_walk_goes_from_one_reconstruction_to_that_of_another_class(runs, data_dir, tmp_path):
    task, state, data = loaded(runs["vae"], data_dir)
    task.save_images(state, data, lambda name: tmp_path / f"{name}.png")
    walk = from_pixels(tmp_path / "walk.png")
    sheet = from_pixels(tmp_path / "reconstructions.png").reshape(-1, 2, COLUMNS, 28, 28)[:, 1]
    sheet = sheet.reshape(-1, 28, 28)
    places = np.linspace(0, len(data.test["image"]) - 1, 2 * COLUMNS).round().astype(int)
    labels = data.test["label"][places]
    other = np.flatnonzero(labels != labels[0])[0]
    np.testing.assert_allclose(walk[[0, -1]].astype(int), sheet[[0, other]].astype(int), atol=1)


def test_latents_are_coloured_by_class(runs):
    plot = saved_images(runs["autoencoder"])["codes"][-1][..., :3].reshape(-1, 3)
    blue, orange, green = (31, 119, 180), (255, 127, 14), (44, 160, 44)
    for colour in (blue, orange, green):
        assert (plot == colour).all(axis=1).sum() > 10


def test_a_split_that_is_read_from_disk_gives_the_same_images(runs, data_dir, tmp_path):
    class Rows(Source):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return {name: array[index] for name, array in data.train.items()}

    task, state, data = loaded(runs["autoencoder"], data_dir)
    first = {name: array[:40] for name, array in data.train.items()}
    for folder, split in (("arrays", first), ("source", Rows())):  # and there is no test split
        without = data._replace(train=split, test=None)
        task.save_images(state, without, lambda name, folder=folder: tmp_path / folder / f"{name}.png")
    for name in ("reconstructions", "walk", "codes"):
        arrays, source = (tmp_path / folder / f"{name}.png" for folder in ("arrays", "source"))
        assert arrays.read_bytes() == source.read_bytes()


def test_a_vae_samples_from_latents_that_it_draws(runs, data_dir):
    task, state, _ = loaded(runs["vae"], data_dir)
    assert task.latent_shape == (20,) and task.labelled is False
    latents = task.draw_latents(jax.random.key(1), 500)
    assert latents.shape == (500, 20)
    assert abs(float(latents.mean())) < 0.05 and float(latents.std()) == pytest.approx(1, abs=0.05)
    images = jax.jit(task.sample)(state, latents)
    assert images.shape == (500, 28, 28, 1) and float(jnp.abs(images).max()) <= 1
    assert float(images.std(axis=0).max()) > 0.01
    noise = task.draw(jax.random.key(1), 7)
    assert noise["eps"].shape == (7, 20)


@pytest.mark.parametrize(("model", "shape"), [("autoencoder", (3,)), ("conv_autoencoder", (2, 2, 8))])
def test_a_plain_autoencoder_decodes_the_latents_that_it_is_given(runs, data_dir, model, shape):
    task, state, data = loaded(runs[model], data_dir)
    assert task.latent_shape == shape
    images = jnp.asarray(data.test["image"][:5], jnp.float32) / 127.5 - 1
    latents = jax.jit(task.encode)(state, images)
    assert latents.shape == (5, *shape)
    outputs = jax.jit(lambda state, images: task.model_def.eval(state.params, state.buffers)(images)[1])
    np.testing.assert_allclose(jax.jit(task.sample)(state, latents), outputs(state, images), atol=1e-6)
    with pytest.raises(ValueError, match="have no distribution to draw from: give latents to decode"):
        task.draw_latents(jax.random.key(0), 2)


@pytest.mark.parametrize(("model", "loss", "suited"), [("vae", "sse", "vae"), ("autoencoder", "vae", "sse")])
def test_a_loss_that_the_model_has_not_is_refused(model, loss, suited):
    recipe = dataclasses.replace(tiny_recipe(model), loss=loss)
    with pytest.raises(ValueError, match=f"{model} is trained with the loss {suited}, got '{loss}'"):
        build_task(recipe, build_model(recipe))


def test_on_mnist_the_recipes_are_those_of_their_sources():
    epochs = {model: RECIPES[model].on("mnist").epochs for model in AUTOENCODERS}
    assert epochs == {"autoencoder": 100, "conv_autoencoder": 40, "vae": 100}
    for model in AUTOENCODERS:
        recipe: Any = RECIPES[model].on("mnist")
        assert (recipe.batch_size, recipe.optimizer.lr) == (128, 1e-3)
        assert recipe.optimizer.weight_decay == (1e-5 if model == "conv_autoencoder" else 0)


def test_an_exported_encoder_gives_mean_and_log_variance(runs, tmp_path):
    run = load_run(runs["vae"])
    theirs: Any = to_torch(run.model, torch_models.MODELS["vae"](**run.recipe.options))
    form = FORMATS["torchscript"]
    path = form.write(theirs.encoder, tmp_path / f"encoder{form.suffix}")
    examples = find_twin("vae").examples["encoder"]
    assert 0 < check_export(path, form, run.model.encoder, examples) < TOLERANCES["float32"].forward
