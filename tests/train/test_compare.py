"""Runs side by side in one plot."""

import pytest
from PIL import Image

from tests.conftest import tiny_recipe
from tests.train.conftest import small_recipe
from train import compare
from train.engine.comparison import describe_differences
from train.engine.loop import train
from train.engine.run_folders import read_recipe

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]


def test_runs_are_compared_in_one_plot(small_run, tmp_path, data_dir, capsys):
    other = tmp_path / "other"
    train(small_recipe(steps=2, seed=1), other, data_dir, quiet=True)
    compare.main([str(small_run), str(other), "--write", str(tmp_path / "both.png")])
    with Image.open(tmp_path / "both.png") as image:
        assert image.size == (2 * 6 * 120, 9 * 120)
    assert f"wrote {tmp_path / 'both.png'}" in capsys.readouterr().out
    recipes = [read_recipe(folder) for folder in (small_run, other)]
    assert describe_differences(recipes[1], recipes) == "steps 2, seed 1"


def test_the_options_of_a_model_are_compared_with_their_defaults():
    recipes = [tiny_recipe("cgan", ema=0.5), tiny_recipe("cgan", options={"hidden_features": 16}, steps=2)]
    assert describe_differences(recipes[0], recipes) == "hidden features 32, channels 4, steps 6, ema 0.5"
    assert describe_differences(recipes[1], recipes) == "hidden features 16, channels 64, steps 2, ema None"


def test_the_values_of_an_optimizer_are_compared_one_by_one():
    from train.optim import Adam

    one, other = tiny_recipe("gan"), tiny_recipe("gan", generator_optimizer=Adam(lr=5e-3, betas=(0.5, 0.999)))
    assert describe_differences(other, [one, other]) == "generator optimizer.lr 0.005"


def test_a_run_alone_is_refused(small_run, tmp_path):
    with pytest.raises(ValueError, match="a comparison takes two run folders or more, got 1"):
        compare.main([str(small_run)])
    with pytest.raises(ValueError, match="is not a run folder"):
        compare.main([str(small_run), str(tmp_path)])
