"""The Python API: `train.fit` and `train.load_run`, on the catalogue, on models and arrays of the caller."""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

import train
from flax_models import layers
from tests.conftest import tiny_recipe
from tests.train.runs import HEAVY_MODULES, states_are_equal
from train.data.sources import Data
from train.engine.runs import fit, load_run
from train.optim import SGD, Adam
from train.recipes import ClassifyRecipe, RegressRecipe

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]


class Points(nnx.Module):
    """A classifier of points, as a user writes one."""

    def __init__(self, num_classes: int = 2, hidden: int = 8, *, rngs: nnx.Rngs):
        self.hidden = layers.Linear(2, hidden, rngs=rngs)
        self.out = layers.Linear(hidden, num_classes, rngs=rngs)

    def __call__(self, x):
        return self.out(jax.nn.relu(self.hidden(x)))


NAME = f"{__name__}:Points"


def points(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of the plane in float64, and in which third of it they lie, in int64."""
    x = np.random.default_rng(seed).normal(size=(count, 2))
    return x, (x[:, 0] > 0.4).astype(int) + (x[:, 0] > -0.4)


LENGTH: dict[str, Any] = {"steps": 4, "batch_size": 20, "sample_every": 4, "quiet": True}
SMALL_MLP: dict[str, Any] = {
    "options": {"hidden_features": 16}, "take": 64, "steps": 2, "batch_size": 32, "sample_every": 2,
    "quiet": True,
}  # fmt: skip


# What a recipe, a model and data may be.


def test_a_name_of_the_catalogue_with_overrides(data_dir, tmp_path):
    optimizer = Adam(lr=1e-2)
    run = train.fit("fashion_mlp", tmp_path / "run", data_dir=data_dir, optimizer=optimizer, **SMALL_MLP)
    recipe: Any = run.recipe
    assert isinstance(recipe, ClassifyRecipe) and recipe.optimizer == optimizer
    assert int(run.state.step) == 2 and run.workdir == tmp_path / "run"
    assert run.metrics[-1]["step"] == 2 and "test_accuracy" in run.metrics[-1]


def test_epochs_count_where_the_recipe_itself_counts_steps(data_dir, tmp_path):
    run = train.fit(
        "linear_regression", tmp_path / "run", data_dir=data_dir, epochs=3, sample_every=3, quiet=True
    )
    assert (run.recipe.epochs, run.recipe.steps, int(run.state.step)) == (3, None, 3)


def test_a_recipe(data_dir, tmp_path):
    recipe = tiny_recipe("linear_regression", steps=2, take=None, batch_size=None, sample_every=2)
    train.fit(recipe, tmp_path / "run", data_dir=data_dir, quiet=True)
    assert train.load_run(tmp_path / "run").recipe == recipe


def test_a_name_on_another_data_set(data_dir, tmp_path):
    fields = {**SMALL_MLP, "batch_size": 16}
    run = train.fit("fashion_mlp", tmp_path / "run", dataset="photos:28", data_dir=data_dir, **fields)
    assert run.recipe.dataset == "photos:28" and run.recipe.options["num_classes"] == 2


def test_a_name_on_arrays(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1), np.uint8)
    run = train.fit("fashion_mlp", tmp_path / "run", (images, np.arange(40) % 3), **SMALL_MLP)
    assert run.recipe.dataset == "arrays" and run.recipe.options["num_classes"] == 3
    assert run.predict(images[:5]).shape == (5, 3) and run.classify(images[:2])[0] in ("0", "1", "2")


@pytest.mark.parametrize("model", [Points, NAME], ids=["class", "import path"])
def test_a_class_or_its_import_path(model, tmp_path):
    data: Any = points()
    run = fit(model, tmp_path / "run", data, task="classify", **LENGTH)
    assert run.recipe.model == NAME and isinstance(run.model, Points)
    # The number of classes follows from the labels.
    assert run.recipe.options == {"num_classes": 3} and run.predict(data[0]).shape == (60, 3)
    again = load_run(tmp_path / "run")  # by the import path that the recipe holds
    assert np.array_equal(again.predict(data[0]), run.predict(data[0]))


def test_a_class_of_a_notebook_that_cannot_be_imported(tmp_path):
    class Local(Points):
        pass

    data = points()
    run = fit(model=Local, workdir=tmp_path / "run", data=data, task="classify", **LENGTH)
    with pytest.raises(ValueError, match="Local cannot be imported"):
        load_run(tmp_path / "run")
    again = load_run(tmp_path / "run", model=Local)
    assert isinstance(again.model, Local)
    assert np.array_equal(again.predict(data[0]), run.predict(data[0]))


def test_an_instance_starts_from_its_own_weights(tmp_path):
    model, x = Points(3, rngs=nnx.Rngs(5)), points()
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    run = fit(model, tmp_path / "run", x, task="classify", optimizer=SGD(lr=0.0), **LENGTH)
    assert run.model is model
    assert jax.tree.all(jax.tree.map(np.array_equal, before, run.state.params))
    run = fit(model, tmp_path / "other", x, task="classify", **LENGTH)
    assert not jax.tree.all(jax.tree.map(np.array_equal, before, run.state.params))
    assert np.array_equal(run.model.out.weight[...], run.state.params["out"]["weight"])


TRAIN, TEST = points(), points(20, seed=1)


@pytest.mark.parametrize(
    ("data", "tested"),
    [
        (TRAIN, False),
        ({"x": TRAIN[0], "y": TRAIN[1]}, False),
        ((TRAIN, TEST), True),
        (({"x": TRAIN[0], "y": TRAIN[1]}, {"x": TEST[0], "y": TEST[1]}), True),
        (
            Data(
                {"x": TRAIN[0].astype(np.float32), "y": TRAIN[1].astype(np.int32)}, None, {"classes": "abc"}
            ),
            False,
        ),
    ],
    ids=["tuple", "dict", "two tuples", "two dicts", "Data"],
)
def test_data_of_the_caller_in_every_form(data, tested, tmp_path):
    run = fit(model=Points, task="classify", data=data, workdir=tmp_path / "run", **LENGTH)
    assert ("test_accuracy" in run.metrics[-1]) == tested
    (name,) = run.evaluate().metrics
    assert name == ("test accuracy" if tested else "training accuracy")
    x, y = TEST if tested else TRAIN
    accuracy = (run.predict(x).argmax(1) == y).mean()
    assert run.evaluate().metrics[name].value == pytest.approx(accuracy)


def test_all_forms_of_the_same_data_train_to_the_same_bits(tmp_path):
    forms: dict[str, Any] = {"tuple": TRAIN, "dict": {"x": TRAIN[0], "y": TRAIN[1]}}
    for name, data in forms.items():
        fit(Points, tmp_path / name, data, task="classify", **LENGTH)
    assert states_are_equal(tmp_path / "tuple", tmp_path / "dict")


def test_a_regression_on_arrays(tmp_path):
    x = np.random.default_rng(0).normal(size=(50, 1))
    run = fit(
        "linear_regression", tmp_path / "run", (x, 2 * x + 1), steps=400, optimizer=SGD(lr=0.1), quiet=True
    )
    assert isinstance(run.recipe, RegressRecipe)
    np.testing.assert_allclose(run.predict(x), 2 * x + 1, atol=1e-3)


# The run that comes back.


def test_without_a_workdir_the_folder_lives_as_long_as_the_run():
    run = fit(Points, data=points(), task="classify", **LENGTH)
    folder = run.workdir
    assert (folder / "recipe.json").is_file() and run.metrics[-1]["step"] == 4
    del run
    gc.collect()
    assert not folder.exists()


def test_a_workdir_is_resumed(tmp_path, capsys):
    data, fields = points(), {**LENGTH, "quiet": False}
    fit(Points, tmp_path / "whole", data, task="classify", **LENGTH)
    fit(Points, tmp_path / "run", data, task="classify", **{**LENGTH, "steps": 2})
    capsys.readouterr()
    run = fit(Points, tmp_path / "run", data, task="classify", **fields)
    assert "continuing from step 2" in capsys.readouterr().out
    assert int(run.state.step) == 4 and states_are_equal(tmp_path / "whole", tmp_path / "run")
    with pytest.raises(ValueError, match=r"has batch_size 20 \(now 10\)"):
        fit(Points, tmp_path / "run", data, task="classify", **{**LENGTH, "batch_size": 10})


def test_load_run_takes_a_str_or_a_path(small_run):
    by_path, by_str = train.load_run(small_run), train.load_run(str(small_run))
    assert by_path.workdir == by_str.workdir == Path(small_run)
    assert by_str.recipe == by_path.recipe and int(by_str.state.step) == 6
    assert jax.tree.all(jax.tree.map(np.array_equal, by_path.state, by_str.state))


def test_a_run_has_its_metrics_model_state_and_data(classifier, data_dir):
    run = train.load_run(classifier, data_dir=data_dir)
    assert run.metrics[-1]["epoch"] == 4 and run.faults == []
    params = nnx.to_pure_dict(nnx.state(run.model, nnx.Param))
    assert jax.tree.all(jax.tree.map(np.array_equal, params, run.state.params))
    assert run.meta == {"classes": list("0123456789")}
    test: Any = run.load_data().test
    assert run.evaluate().metrics["test accuracy"].value == pytest.approx(run.metrics[-1]["test_accuracy"])
    half = run.evaluate((test["image"][:100], test["label"][:100]))
    found = (run.predict(test["image"][:100]).argmax(1) == test["label"][:100]).mean()
    assert half.metrics["training accuracy"].value == pytest.approx(found)
    assert "│ 7 " in half.show()  # a class keeps the name that the run gave it


# Bad calls.


def with_arguments(**fields: Any) -> dict[str, Any]:
    return {"model": Points, "task": "classify", "data": points(), **LENGTH, **fields}


BAD_CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "fit needs the name of a model, a Recipe, or a model of your own"),
    "an unknown name": ({"recipe": "lenet6"}, r"unknown model 'lenet6': did you mean .*lenet5"),
    "no model": ({"recipe": 3}, "fit takes the name of a model, a Recipe, or an nnx.Module, got int"),
    "no task": (with_arguments(task=None), r'Points needs a task, such as task="classify"'),
    "an unknown task": (with_arguments(task="clasify"), "unknown task 'clasify': did you mean classify"),
    "no data": (with_arguments(data=None), r"Points needs data: give data=\(inputs, targets\)"),
    "an unknown data set": (
        with_arguments(data=None, dataset="digit"),
        "unknown dataset 'digit': did you mean digits",
    ),
    "an unknown field": (with_arguments(colour=1), r"Points has no field colour: there are batch_size, "),
    "a bad value": (with_arguments(batch_size=0), "batch_size must be at least 1, got 0"),
    "too large a batch": (with_arguments(batch_size=61), "from 1 to the data set's 60 examples, got 61"),
    "an unknown option": (with_arguments(options={"width": 3}), "Points has no option width: there are "),
    "no path": (
        with_arguments(model="tests.nowhere:Points"),
        "the model tests.nowhere:Points cannot be imported: ",
    ),
    "no class": (with_arguments(model=f"{__name__}:LENGTH"), "LENGTH is not a subclass of flax.nnx.Module"),
    "arrays of different lengths": (
        with_arguments(data=(points()[0], points()[1][:5])),
        r"one row per example each, got \{'x': 60, 'y': 5\}",
    ),
    "data of no form": (with_arguments(data=points()[0]), "data is a dict of arrays, a tuple"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_call_is_one_clear_error_and_leaves_no_folder(case, tmp_path):
    fields, message = BAD_CALLS[case]
    with pytest.raises(ValueError, match=message) as error:
        fit(workdir=tmp_path / "run", **fields)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_labels_of_a_shape_that_does_not_suit_the_loss_are_refused(tmp_path):
    x, y = points()
    with pytest.raises(ValueError, match="need integer labels of the shape"):
        fit(Points, tmp_path / "run", (x, np.stack([y, y], axis=1)), task="classify", **LENGTH)


def test_a_run_on_arrays_needs_them_again(tmp_path):
    fit(Points, tmp_path / "run", points(), task="classify", **LENGTH)
    with pytest.raises(ValueError, match="trains on the user's arrays: give them as data="):
        load_run(tmp_path / "run").evaluate()
    assert load_run(tmp_path / "run", data=points()).evaluate().metrics.keys() == {"training accuracy"}


def test_a_folder_of_another_run_is_refused(small_run, data_dir):
    with pytest.raises(ValueError, match="contains a run of mlp_gan, not of lenet"):
        fit("lenet", small_run, data_dir=data_dir, steps=1)
    with pytest.raises(ValueError, match="is not a run folder"):
        load_run(data_dir)


# The names of the package.


def test_the_packages_show_their_names_and_load_nothing_heavy():
    script = (
        "import sys, json, train, train.optim\n"
        "train.RECIPES, train.DATASETS, train.Recipe, train.optim.OPTIMIZERS, train.optim.Adam()\n"
        "names = [sorted(set(package.__all__) - set(dir(package))) for package in (train, train.optim)]\n"
        f"print(json.dumps([names, sorted(set({HEAVY_MODULES!r}) & set(sys.modules))]))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[[[], []], []]\n"
    assert {"fit", "load_run", "Run", "RECIPES", "DATASETS", "Recipe"} == set(train.__all__)
    import train.optim as optim

    assert {"to_optax", "step_lr", "clip_grad_norm", *optim.OPTIMIZERS} <= set(dir(optim))
    for package in (train, optim):
        assert all(getattr(package, name) is not None for name in package.__all__)
        with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
            package.__getattr__("nothing")
