"""Transfer: what a frozen trunk does not cost, features that are computed once, and weights from runs."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from flax_models import layers as nn
from flax_models.transfer import TRUNKS, Trunk
from tests.compilation import quicken
from tests.train.runs import states_are_equal
from train.data.sources import Data, Source
from train.engine.loop import train
from train.engine.metrics import read_metrics
from train.engine.precompute import FILE
from train.engine.runs import load_run
from train.recipes import RECIPES, Recipe, load_recipe_data, make_recipe
from train.recipes.inputs import ARRAYS
from train.recipes.supervised import TRANSFER_OPTIONS
from train.tasks import build_task
from train.tasks.models import abstract_model, build_model, model_options

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
    pytest.mark.usefixtures("small_trunk"),
]


class Small(nnx.Module):
    """A classifier that compiles fast, with what every trunk has: convolution, batch norm, pool and head."""

    def __init__(self, num_classes: int = 5, width: int = 4, *, rngs: nnx.Rngs):
        self.conv = nn.Conv2d(3, width, 3, rngs=rngs)
        self.bn = nn.BatchNorm2d(width)
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4 * width, num_classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.fc(self.flatten(self.avgpool(self.bn(self.conv(images)))))


NAME = f"{__name__}:Small"
OPTIONS = {"trunks": NAME, "width": 4, "hidden_features": 16}
SHORT: dict[str, Any] = {"batch_size": 8, "log_every": 1, "take": 20}


def make_data(seed: int = 0) -> Data:
    """Random images of two classes, 24 to train on and 10 to test on."""
    rng = np.random.default_rng(seed)
    train, test = (
        {"image": rng.integers(0, 256, (n, 8, 8, 3), np.uint8), "label": rng.integers(0, 2, n, np.int32)}
        for n in (24, 10)
    )
    return Data(train, test, {"classes": ["a", "b"]})


DATA = make_data()


@pytest.fixture(scope="module")
def small_trunk() -> Iterator[None]:
    """Small is among the classifiers that can be a trunk. Everything here compiles without optimisation."""
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        patch.setitem(TRUNKS, NAME, Trunk(Small, 1, {"num_classes": 1}))
        yield


@pytest.fixture(scope="module")
def trunk(tmp_path_factory, small_trunk) -> Path:
    """The folder of a run whose model, of five classes, serves as a trunk."""
    workdir = tmp_path_factory.mktemp("runs") / "trunk"
    recipe = make_recipe(NAME, "classify", ARRAYS, options={"num_classes": 5}, **SHORT, steps=2)
    train(recipe, workdir, data=DATA, quiet=True)
    return workdir


def recipe_of(trunk: Path, trained: str = "head", **fields: Any) -> Recipe:
    """A short run of a model of that trunk."""
    options = {**OPTIONS, "trained": trained}
    given = {"options": options, "trunk_runs": (str(trunk),), "dataset": ARRAYS, "steps": 5, **SHORT}
    return dataclasses.replace(RECIPES["transfer"], **{**given, **fields})


@pytest.fixture(scope="module")
def frozen(trunk, tmp_path_factory) -> Path:
    """The folder of a finished run of a frozen trunk."""
    workdir = tmp_path_factory.mktemp("runs") / "frozen"
    train(recipe_of(trunk), workdir, data=DATA, quiet=True)
    return workdir


def of_trunk(tree: Any) -> Any:
    """The arrays of the trunk by path, without those of the head."""
    return {name: value for name, value in tree.items() if name != "fc"}


def test_a_frozen_trunk_keeps_its_weights_and_has_no_optimizer_state(trunk, frozen):
    state, given = load_run(frozen).state, load_run(trunk).state
    for ours, theirs in ((state.params, given.params), (state.buffers, given.buffers)):
        assert jax.tree.leaves(of_trunk(theirs))
        assert jax.tree.all(jax.tree.map(np.array_equal, ours["trunks"][0], of_trunk(theirs)))
    first = build_model(recipe_of(trunk)).head[0].weight[...]
    assert not np.array_equal(state.params["head"][0]["weight"], first)
    (moments,) = state.optimizers.values()
    shapes = {leaf.shape for leaf in jax.tree.leaves(state.params["head"])}
    assert state.optimizers.keys() == {"head"}
    assert {leaf.shape for leaf in jax.tree.leaves(moments)} == {(), *shapes}


def test_a_trunk_that_is_trained_starts_from_the_run(trunk, tmp_path, capsys):
    train(recipe_of(trunk, trained="all", steps=1), tmp_path / "run", data=DATA)
    state, given = load_run(tmp_path / "run").state, load_run(trunk).state
    assert state.optimizers.keys() == {""}
    ours, theirs = (tree["conv"]["weight"] for tree in (state.params["trunks"][0], given.params))
    assert 0 < np.abs(ours - theirs).max() < 1e-3  # one step of Adam away
    count = state.buffers["trunks"][0]["bn"]["num_batches_tracked"]
    assert int(count) == int(given.buffers["bn"]["num_batches_tracked"]) + 1
    line = f"trunks.0: 7 leaves of {NAME} in {trunk}, step 2; without fc.bias, fc.weight"
    assert line in capsys.readouterr().out


def flops(trunk: Path, trained: str, *, only_forward: bool = False, **batch: Any) -> float:
    """The operations of a compiled training step, or of a forward pass."""
    recipe = recipe_of(trunk, trained)
    task: Any = build_task(recipe, build_model(recipe))
    batch = {**batch, "label": jnp.zeros(8, jnp.int32)}
    call = task.predict if only_forward else lambda *a: task.step(*a, task.draw(jax.random.key(0), 8))
    cost: Any = jax.jit(call).lower(task.initial_state(), batch).compile().cost_analysis()
    return cost["flops"]


def test_a_frozen_trunk_costs_no_gradient(trunk):
    images = jnp.zeros((8, 64, 64, 3))
    forward = flops(trunk, "head", only_forward=True, image=images)
    assert flops(trunk, "head", image=images) < 1.2 * forward
    assert flops(trunk, "all", image=images) > 1.5 * forward  # images need no gradient
    assert flops(trunk, "head", features=jnp.zeros((8, 4))) < 0.1 * forward


def losses(workdir: Path) -> np.ndarray:
    """The losses of every step, and the last ones of the test split."""
    records = read_metrics(workdir)
    return np.array([record["loss"] for record in records] + [records[-1]["test_loss"]])


def test_computed_features_give_the_losses_of_the_whole_model(trunk, frozen, tmp_path):
    train(recipe_of(trunk, cache_features=False), tmp_path / "whole", data=DATA, quiet=True)
    assert (frozen / FILE).exists() and not (tmp_path / "whole" / FILE).exists()
    assert len(losses(frozen)) == 6 and losses(frozen).std() > 1e-4
    np.testing.assert_allclose(losses(frozen), losses(tmp_path / "whole"), rtol=1e-6, atol=0)


def test_a_trained_run_takes_images(frozen):
    run, last = load_run(frozen, data=DATA), read_metrics(frozen)[-1]
    assert abs(run.evaluate().metrics["test accuracy"].value - last["test_accuracy"]) < 1e-6
    assert run.predict(np.zeros((3, 8, 8, 3), np.uint8)).shape == (3, 2)


def test_a_resumed_run_reads_its_features_and_ends_with_the_same_bits(trunk, frozen, tmp_path, capsys):
    train(recipe_of(trunk, steps=3), tmp_path / "run", data=DATA)
    assert "computed the trunks once for 30 examples" in capsys.readouterr().out
    train(recipe_of(trunk), tmp_path / "run", data=DATA)
    assert f"the computed trunks are read from {tmp_path}" in capsys.readouterr().out
    assert states_are_equal(tmp_path / "run", frozen)


class Rows(Source):
    """Arrays that are read example by example."""

    def __init__(self, arrays: Any):
        self.arrays = arrays

    @property
    def nbytes(self) -> int:
        return 0

    def __len__(self) -> int:
        return len(self.arrays["label"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: array[index] for name, array in self.arrays.items()}


def test_examples_that_are_not_in_memory_give_the_same_features(trunk, frozen, tmp_path):
    data = DATA._replace(train=Rows(DATA.train), test=Rows(DATA.test))
    train(recipe_of(trunk), tmp_path / "run", data=data, quiet=True)
    assert states_are_equal(tmp_path / "run", frozen)
    with np.load(frozen / FILE) as ours, np.load(tmp_path / "run" / FILE) as theirs:
        assert set(ours) == set(theirs) and len(ours["train/label"]) == 20
        assert all(np.array_equal(ours[name], theirs[name]) for name in set(ours) - {"digest"})


@pytest.mark.parametrize("damage", ["cut off", "other data"])
def test_features_that_do_not_fit_are_computed_again(damage, trunk, frozen, tmp_path, capsys):
    workdir = shutil.copytree(frozen, tmp_path / "run")
    kept = (workdir / FILE).read_bytes()
    if damage == "cut off":
        (workdir / FILE).write_bytes(kept[:1000])
    else:
        with np.load(workdir / FILE) as file:
            arrays = {**file, "digest": np.array("0" * 64), "train/features": np.zeros((20, 4))}
        np.savez(workdir / FILE, allow_pickle=False, **arrays)
    train(recipe_of(trunk, steps=6), workdir, data=DATA)
    output = capsys.readouterr().out
    assert "computed the trunks once" in output and ("is damaged" in output) == (damage == "cut off")
    assert (workdir / FILE).read_bytes() == kept
    assert not list(workdir.glob(".*"))


def test_random_transforms_need_the_whole_model_in_every_step(trunk, tmp_path, capsys):
    recipe = recipe_of(trunk, transforms=("random_horizontal_flip", "normalize:0.5:0.5"), steps=1)
    train(recipe, tmp_path / "run", data=DATA)
    expected = "random_horizontal_flip draws random numbers, so every step computes the trunks anew"
    assert expected in capsys.readouterr().out
    assert not (tmp_path / "run" / FILE).exists()


REFUSED = [
    ({"trunk_runs": ()}, "frozen trunks need trained weights: give --trunk-runs RUN, one per trunk"),
    ({"options": {**OPTIONS, "width": 8}}, "trunks.0 has width 8, and RUN has width 4"),
    ({"options": {**OPTIONS, "trunks": "vgg11"}}, f"trunks.0 is vgg11, and RUN contains a run of {NAME}"),
    ({"trunk_runs": ("nowhere",)}, "nowhere is not a run folder"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_a_run_that_cannot_start_leaves_no_folder(fields, message, trunk, tmp_path):
    recipe = recipe_of(trunk)
    fields = {**fields, "options": {**fields.get("options", OPTIONS), "trained": "head"}}
    with pytest.raises(ValueError) as error:
        train(dataclasses.replace(recipe, **fields), tmp_path / "run", data=DATA)
    assert message in str(error.value).replace(str(trunk), "RUN")
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_does_not_need_the_runs_of_its_trunks(trunk, tmp_path):
    given = shutil.copytree(trunk, tmp_path / "trunk")
    train(recipe_of(given, steps=1), tmp_path / "run", data=DATA, quiet=True)
    shutil.rmtree(given)
    train(recipe_of(given, steps=2), tmp_path / "run", data=DATA, quiet=True)
    assert int(load_run(tmp_path / "run").state.step) == 2


def test_the_recipe_knows_the_models_defaults():
    options = model_options("transfer")
    assert TRANSFER_OPTIONS.items() <= options.items()
    task = build_task(RECIPES["transfer"], abstract_model(RECIPES["transfer"]))
    assert task.precomputation() is None


def test_cats_vs_dogs_has_the_settings_of_the_source():
    recipe: Any = RECIPES["transfer"].on("cats_vs_dogs")
    assert (recipe.image_size, recipe.image_fit, recipe.batch_size, recipe.epochs) == (224, "crop", 4, 2)
    assert recipe.transforms == recipe.test_transforms == ("normalize:0.5:0.5",)
    assert recipe.optimizer.lr == 1e-4


def test_images_are_cropped_or_padded_where_the_recipe_says_so(tmp_path):
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (6 + 4 * number, 6), "white").save(tmp_path / name / "image.png")
    recipe: Any = dataclasses.replace(RECIPES["transfer"], dataset=f"folder:{tmp_path}", image_size=8)
    for fit, whites in (("crop", (6 * 6, 8 * 6)), ("resize", (64, 64))):
        data = load_recipe_data(dataclasses.replace(recipe, image_fit=fit), tmp_path)
        assert isinstance(data.train, Source)
        images = [data.train[number]["image"] for number in range(2)]
        assert [int((image == 255).all(-1).sum()) for image in images] == list(whites)
        assert all(image.shape == (8, 8, 3) for image in images)
