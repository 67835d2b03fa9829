"""Transfer across the bridge: frozen trunks, trunks from PyTorch files, an optimizer of the head alone."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

import torch_models
from convert import Certificate, verify
from convert.runs import run_from_torch, run_to_torch
from convert.twins import TWINS
from convert.weights import ConversionError
from tests.conftest import tiny_recipe
from train.data.sources import Data
from train.engine.loop import train
from train.engine.runs import load_run

pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]
TINY = dict(TWINS["transfer"].tiny)
FROZEN = {**TINY, "trunks": "alexnet", "trained": "head"}


@pytest.mark.heavy
@pytest.mark.parametrize("trunks", ["vgg11_bn", "resnet18+googlenet"])
def test_the_twins_agree_with_frozen_trunks(trunks):
    """One trunk and joined ones. test_catalogue.py compares the model that is trained as a whole."""
    options = {**TINY, "trunks": trunks, "trained": "head"}
    certificate = verify("transfer", options=options, dtypes=("float64",), steps=3, batch=4)
    assert certificate.passed, f"\n{certificate}"
    checks = {check.name: check for check in certificate.checks}
    assert checks["3 steps, optimizer state"].worst.startswith("head.")
    assert checks["buffers"].error == 0  # no batch is counted, and no statistics move
    assert any(layer.name.startswith("trunks.0.") and layer.gradient for layer in certificate.layers)


def test_the_small_variant_of_a_frozen_model_is_frozen():
    options = {"trunks": "vgg11", "trained": "head", "width": 64, "num_classes": 10}
    assert TWINS["transfer"].small(options) == {**TINY, "trunks": "vgg11", "trained": "head"}
    assert TWINS["transfer"].small({"width": 32}) == TINY


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> Path:
    """The folder of a run whose frozen trunk comes from a PyTorch file of 1000 classes."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    options = {"num_classes": 1000, "width": 8, "hidden_features": 16}
    torch.save(torch_models.MODELS["alexnet"](**options).state_dict(), folder / "alexnet.pth")
    run_from_torch(folder / "alexnet.pth", "alexnet", folder / "trunk", options=options, say=str)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (16, 64, 64, 3), np.uint8), rng.integers(0, 2, 16, np.int32)
    data = Data({"image": images, "label": labels}, None, {"classes": ["a", "b"]})
    recipe = tiny_recipe("transfer", options=FROZEN, trunk_runs=(str(folder / "trunk"),), dataset="arrays")
    train(dataclasses.replace(recipe, steps=4, take=None), folder / "run", data=data, quiet=True)
    return folder / "run"


def test_a_trunk_comes_from_a_pytorch_file_of_any_number_of_classes(frozen):
    given = torch.load(frozen.parent / "alexnet.pth", weights_only=True)
    trunk = load_run(frozen).model.trunks[0]
    weight = np.asarray(trunk.features[3].weight[...])
    assert np.array_equal(weight.transpose(3, 2, 0, 1), given["features.3.weight"].numpy())


@pytest.fixture(scope="module")
def exported(frozen) -> Path:
    """The export of that run."""
    empty = Certificate("transfer", {}, "", 0, 0, 0, {}, (), (), ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convert.runs.verify", lambda *args, **kwargs: empty)
        run_to_torch(frozen, say=lambda line: None)
    return frozen / "export"


def test_a_frozen_run_goes_to_torch_and_back_to_the_bit(frozen, exported, tmp_path):
    optimizer = torch.load(exported / "optimizer.pth", weights_only=True)
    assert list(optimizer) == ["head"] and len(optimizer["head"]["state"]) == 6  # weights and biases
    model = torch_models.MODELS["transfer"](**FROZEN)
    model.load_state_dict(torch.load(exported / "model.pth", weights_only=True))
    torch.optim.Adam(model.head.parameters()).load_state_dict(optimizer["head"])
    run_from_torch(
        exported / "model.pth", "transfer", tmp_path / "back", exported / "optimizer.pth", options=FROZEN,
        say=str,
    )  # fmt: skip
    before, after = load_run(frozen).state, load_run(tmp_path / "back").state
    assert int(before.step) == 4 and int(after.step) == 0
    assert jax.tree.all(jax.tree.map(np.array_equal, before._replace(step=after.step), after))
    assert json.loads((tmp_path / "back" / "recipe.json").read_text())["trunk_runs"] == []


def test_an_optimizer_of_another_part_is_refused(exported, tmp_path):
    message = "has optimizers of head, and this run has those of the whole model"
    with pytest.raises(ValueError, match=message):
        run_from_torch(
            exported / "model.pth", "transfer", tmp_path / "back", exported / "optimizer.pth",
            options={**FROZEN, "trained": "all"}, say=str,
        )  # fmt: skip
    assert not (tmp_path / "back").exists()


def test_the_weights_of_another_trunk_do_not_fit(exported, tmp_path):
    with pytest.raises(ConversionError, match=r"missing trunks\.0\.conv1\.weight"):
        run_from_torch(exported / "model.pth", "transfer", tmp_path / "back", options=TINY, say=str)
