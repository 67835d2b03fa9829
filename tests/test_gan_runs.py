"""Runs of the adversarial family: averages, pictures, drawing, distances, exports."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import torch
from PIL import Image

from convert.certificate.tolerances import TOLERANCES, difference
from tests.conftest import tiny_recipe
from train import compare, evaluate, frechet, generate
from train.engine.loop import train
from train.engine.run_folders import read_recipe
from train.engine.runs import load_run
from train.recipes import RECIPES
from train.tasks import build_task


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
    *_, together, alone = evaluate.seed_table(recipes, figures).splitlines()
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
    from convert.certificate.result import Certificate

    return Certificate("cgan", {}, "", 0, 0, 0, {}, (), (), ())
