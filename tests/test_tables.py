"""The four tables have the same models, and their rows agree."""

import dataclasses
import inspect

import pytest
from flax import nnx

import flax_models
import torch_models
from convert.rules import rule_for
from convert.twins import TWINS, find_twin
from convert.weights import flat_variables
from train.data.datasets import DATASETS
from train.recipes import RECIPES, data_kind
from train.tasks.models import abstract_model


def test_the_four_tables_have_the_same_models():
    assert set(flax_models.MODELS) == set(torch_models.MODELS) == set(TWINS) == set(RECIPES)


@pytest.mark.parametrize("model", RECIPES)
def test_a_recipe_names_itself_and_sets_that_suit_its_task(model):
    recipe = RECIPES[model]
    assert recipe.model == model
    assert recipe.dataset in DATASETS and recipe.overrides.keys() <= DATASETS.keys()
    for name in (recipe.dataset, *recipe.overrides):
        assert set(recipe.kinds) & set(DATASETS[name].kinds)
    assert data_kind(recipe) in recipe.kinds
    for dataset in DATASETS:
        assert recipe.on(dataset).dataset == dataset


@pytest.mark.parametrize("model", RECIPES)
def test_both_twins_take_the_same_options(model):
    ours, theirs = (
        dict(inspect.signature(package.MODELS[model].__init__).parameters)
        for package in (flax_models, torch_models)
    )
    ours.pop("rngs")
    assert {name: p.default for name, p in ours.items()} == {name: p.default for name, p in theirs.items()}


@pytest.mark.parametrize("model", RECIPES)
def test_the_exported_children_are_called_and_exist(model):
    twin = find_twin(model)
    assert twin.exported and set(twin.exported) <= set(twin.examples)
    ours = abstract_model(dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny)))
    for child in filter(None, twin.examples):
        assert isinstance(getattr(ours, child), nnx.Module)


@pytest.mark.parametrize("model", RECIPES)
def test_every_layer_that_holds_variables_has_a_rule(model):
    ours = abstract_model(dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny)))
    owners = {path[:-1] for path in flat_variables(ours)}
    without = [path for path, module in nnx.iter_modules(ours) if path in owners and rule_for(module) is None]
    assert owners and not without
