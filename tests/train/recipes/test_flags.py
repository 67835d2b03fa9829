"""The flags that give a recipe, read by the command that takes them."""

import dataclasses

import pytest

from train.command_line import parse_flags
from train.optim import SGD, Adam
from train.recipes import RECIPES
from train.recipes.flags import flags_of
from train.run import Flags, _chosen, _recipe_of

pytestmark = pytest.mark.jax_only


@pytest.mark.parametrize("model", RECIPES)
def test_the_row_of_a_model_needs_no_flag(model):
    assert flags_of(RECIPES[model]) == ["--model", model]


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("lenet5", {"epochs": 3, "seed": 7, "batch_size": None}),
        ("lenet5", {"optimizer": SGD(lr=1e-3, momentum=0.9, nesterov=True)}),
        ("lenet5", {"shuffle": False, "transforms": ("pad:2", "normalize:0.5:0.5"), "test_transforms": ()}),
        ("vgg11", {"options": {"width": 8, "dropout": 0.25}, "image_size": 32}),
        ("conv_autoencoder", {"optimizer": Adam(lr=1e-4, betas=(0.5, 0.9), weight_decay=1e-5)}),
        ("dcgan", {"generator_optimizer": Adam(lr=1e-2, betas=(0.5, 0.999)), "ema": None}),
        ("lstm_regressor", {"window": 3, "steps": 20}),
    ],
)
def test_the_command_reads_the_same_recipe(model, fields):
    recipe = dataclasses.replace(RECIPES[model], **fields)
    flags = flags_of(recipe)
    base = _recipe_of(_chosen(flags))
    assert parse_flags(Flags, flags, prog="run", default=Flags(base)).recipe == recipe != base


def test_another_data_set_is_named():
    recipe = dataclasses.replace(RECIPES["lenet"].on("mnist"), epochs=2)
    assert flags_of(recipe) == ["--model", "lenet", "--dataset", "mnist", "--epochs", "2"]


def test_another_class_of_optimizer_has_no_flag():
    recipe = dataclasses.replace(RECIPES["lenet5"], optimizer=Adam())
    with pytest.raises(ValueError, match="no flag gives optimizer the class Adam"):
        flags_of(recipe)
