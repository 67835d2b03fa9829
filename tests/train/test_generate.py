"""Sampling from a trained run: by seed, by class and by latents, through Python and through the command."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from convert.certificate.tolerances import TOLERANCES, difference
from train import generate
from train.engine.runs import load_run
from train.tasks.contract import Sampler

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]


def test_a_run_saves_a_row_for_every_class_and_an_animation(conditional):
    with Image.open(conditional / "samples" / "samples_000006.png") as grid:
        assert grid.size == (2 * (8 * 30 + 2), 2 * (10 * 30 + 2))
    with Image.open(conditional / "samples" / "samples.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 3 and animation.size == grid.size


def test_samples_are_of_the_averaged_weights(conditional):
    run = load_run(conditional)
    assert isinstance(run.task, Sampler)
    latents, labels = np.ones((2, 96), np.float32), np.array([3, 4])
    assert not jax.tree.all(
        jax.tree.map(np.array_equal, run.state.extra["average"]["generator"], run.state.params["generator"])
    )
    averaged = run.task.sample(run.state, jnp.asarray(latents), jnp.asarray(labels))
    raw = run.task.sample(run.state._replace(extra={}), jnp.asarray(latents), jnp.asarray(labels))
    assert np.abs(averaged - raw).max() > 1e-6
    threes = run.sample(latents=latents[:1], label="3").examples
    assert difference(threes, np.asarray(averaged[:1])) <= TOLERANCES["float32"].forward


def test_samples_by_seed_by_class_and_by_latents(conditional):
    run = load_run(conditional)
    samples = run.sample(20, seed=1)
    assert samples.examples.shape == (20, 28, 28, 1) and samples.labels is not None
    assert samples.labels.tolist() == [*range(10)] * 2
    assert np.abs(samples.examples).max() <= 1 and samples.examples.std() > 0
    again, other = run.sample(20, seed=1), run.sample(20, seed=2)
    assert np.array_equal(samples.examples, again.examples)
    assert not np.array_equal(samples.examples, other.examples)
    threes = run.sample(4, seed=1, label="3")
    assert threes.labels is not None and threes.labels.tolist() == [3] * 4
    assert difference(threes.examples[3], samples.examples[3]) <= TOLERANCES["float32"].forward
    one = run.sample(latents=np.zeros((1, 96), np.float32), label="3")
    assert one.examples.shape == (1, 28, 28, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "count must be at least 1, got 0"),
        (["--class", "ten"], "unknown class 'ten'"),
        (["--latents", "1,2"], "a latent of cgan has 96 numbers, got 2"),
        (["--codes", "1,2"], "a latent of cgan has 96 numbers, got 2"),
        (["--latents", "1,2", "1"], "all --latents must have the same number of values, got 2, 1"),
        (["--latents", "one"], "--latents takes numbers with commas between them, got 'one'"),
    ],
)
def test_bad_arguments_are_one_clear_error(conditional, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        generate.main([str(conditional), *arguments])
    assert "\n" not in str(error.value)


def test_a_class_for_a_model_without_classes_is_refused(small_run):
    with pytest.raises(ValueError, match="mlp_gan takes no class"):
        generate.main([str(small_run), "--class", "3"])


def test_a_model_that_does_not_sample_is_refused(classifier):
    with pytest.raises(ValueError, match=r"fashion_mlp \(task classify\) cannot sample; it can answer"):
        generate.main([str(classifier)])


def test_images_are_written_as_a_grid_or_as_files(conditional, capsys):
    generate.main([str(conditional), "--count", "12", "--class", "7"])
    assert (conditional / "generated" / "samples.png").is_file()
    assert capsys.readouterr().out.endswith(f"wrote {conditional / 'generated' / 'samples.png'}\n")
    generate.main([str(conditional), "--count", "12", "--files"])
    files = sorted((conditional / "generated").glob("sample_*.png"))
    assert len(files) == 12
    with Image.open(files[0]) as image:
        assert image.size == (28, 28)
    assert capsys.readouterr().out.endswith(f"wrote {files[0]} to {files[-1].name}\n")


def test_curves_are_written_as_a_plot_and_a_table(painter):
    assert (painter / "samples" / "curves_000006.png").is_file()
    generate.main([str(painter), "--count", "5"])
    table = np.loadtxt(painter / "generated" / "curves.csv", delimiter=",")
    assert table.shape == (5, 15)
    np.testing.assert_allclose(table, load_run(painter).sample(5).examples, rtol=1e-4)
    assert (painter / "generated" / "curves.png").is_file()
