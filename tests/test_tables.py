"""The four tables agree, and the packages keep to their floors."""

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from flax import nnx

import flax_models
import torch_models
from convert.rules import rule_for
from convert.twins import TWINS
from convert.weights import flat_variables
from train.data.datasets import DATASETS
from train.recipes import RECIPES
from train.tasks.models import abstract_model

ROOT = Path(__file__).parent.parent
MAY_NOT_IMPORT = {
    "flax_models": {"torch", "torch_models", "convert", "train", "benchmarks"},
    "torch_models": {"jax", "flax", "optax", "flax_models", "convert", "train", "benchmarks"},
    "train": {"torch", "torch_models", "convert", "benchmarks"},
    "convert": {"benchmarks"},
}


def test_the_four_tables_have_the_same_models():
    assert set(flax_models.MODELS) == set(torch_models.MODELS) == set(TWINS) == set(RECIPES)


@pytest.mark.parametrize("model", RECIPES)
def test_a_recipe_names_itself_and_what_there_is(model):
    recipe = RECIPES[model]
    assert recipe.model == model
    assert recipe.dataset in DATASETS and recipe.overrides.keys() <= DATASETS.keys()
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
def test_exempt_leaves_exist(model):
    names = torch_models.MODELS[model](**TWINS[model].tiny).state_dict()
    assert set(TWINS[model].exempt) <= set(names)
    assert set(TWINS[model].exported) <= set(TWINS[model].examples)


@pytest.mark.parametrize("model", RECIPES)
def test_every_layer_that_holds_variables_has_a_rule(model):
    ours = abstract_model(dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny)))
    owners = {path[:-1] for path in flat_variables(ours)}
    without = [path for path, module in nnx.iter_modules(ours) if path in owners and rule_for(module) is None]
    assert not without


@pytest.mark.parametrize("package", MAY_NOT_IMPORT)
def test_imports_point_one_way(package):
    against = []
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            against += [f"{file.name}: {n}" for n in names if n.split(".")[0] in MAY_NOT_IMPORT[package]]
    assert not against


def test_torch_jit_is_named_in_one_file_only():
    users = {
        f.name
        for f in ROOT.glob("[fctb]*/**/*.py")
        if "torch.jit" in f.read_text() and "tests" not in f.parts
    }
    assert users == {"export.py"}


def test_importing_the_packages_loads_nothing_heavy():
    script = (
        "import sys, flax_models, torch_models, train, convert, benchmarks; train.RECIPES, train.DATASETS;"
        "print(sorted({'jax', 'flax', 'torch', 'matplotlib', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
