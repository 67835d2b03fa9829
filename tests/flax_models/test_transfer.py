"""Transfer: the trunks without their heads, their features, and trunks that stay in evaluation mode."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import flax_models
import torch_models
from convert.certificate.tolerances import TOLERANCES, difference
from convert.weights import plan
from flax_models import transfer as ours
from tests.flax_models.test_full_size import counts, full_size
from tests.pairs import Pair, model_inputs, model_pair
from torch_models import transfer as theirs

SMALL = {"width": 8, "hidden_features": 16}
FROZEN = {**SMALL, "trunks": "vgg11_bn", "trained": "head"}


def test_both_tables_of_trunks_are_the_same():
    rows = [
        {name: (trunk.model.__name__, *trunk[1:]) for name, trunk in table.items()}
        for table in (ours.TRUNKS, theirs.TRUNKS)
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 14
    for table, models in ((ours.TRUNKS, flax_models.MODELS), (theirs.TRUNKS, torch_models.MODELS)):
        assert all(trunk.model is models[name] for name, trunk in table.items())


DEEPER = {"vgg13", "vgg16", "vgg19", "vgg13_bn", "vgg16_bn", "vgg19_bn", "resnet34", "resnet50"}
TRUNKS = [pytest.param(name, marks=[pytest.mark.heavy] * (name in DEEPER)) for name in ours.TRUNKS]


@pytest.mark.parametrize("name", TRUNKS)
def test_a_trunk_is_the_classifier_without_its_head(name):
    """Its leaves are those of the classifier, under the same names, in both frameworks."""
    features = []

    def build() -> nnx.Module:
        model = flax_models.MODELS["transfer"](trunks=name, **SMALL, rngs=nnx.Rngs(0))
        features.append(model.features(jnp.zeros((2, 64, 64, 3))).shape)
        return model

    with torch.device("meta"):
        pair = Pair(nnx.eval_shape(build), torch_models.MODELS["transfer"](trunks=name, **SMALL))
        whole = torch_models.MODELS[name](width=8, **({"aux_logits": False} if name == "googlenet" else {}))
    names = set(pair.theirs.state_dict())
    assert {leaf.name for leaf in plan(pair.ours)} == names
    heads = tuple(f"{head}." for head in ours.HEAD_LAYERS)
    of_trunk = {key.removeprefix("trunks.0.") for key in names if key.startswith("trunks.0.")}
    assert of_trunk == {key for key in whole.state_dict() if not key.startswith(heads)}
    assert set(features) == {(2, ours.TRUNKS[name].features * 8)}


def test_the_full_size_model():
    head = 512 * 256 + 256 + 256 * 256 + 256 + 256 * 2 + 2
    assert counts(*full_size("transfer")) == (11_176_512 + head,) * 2
    joined = full_size("transfer", trunks="resnet18+googlenet")
    assert joined.ours.head[0].weight.shape == (512 + 1024, 256)


def test_frozen_trunks_stay_in_evaluation_mode():
    """In training the output depends on the dropout masks alone, and no buffer changes."""
    pair = model_pair("transfer", options={**FROZEN, "dropout": 0.0}, dtype="float32", training=False)
    (x,) = model_inputs("transfer", 3)
    x = x.astype(np.float32)
    evaluated = [pair.ours(jnp.asarray(x)), pair.theirs(torch.tensor(x).permute(0, 3, 1, 2)).detach()]
    before = {name: value.clone() for name, value in pair.theirs.state_dict().items()}
    pair.set_training(True)
    assert pair.ours.trunks[0].features[1].use_running_average and not pair.ours.head[2].deterministic
    assert not pair.theirs.trunks[0].training and pair.theirs.head.training
    trained = [pair.ours(jnp.asarray(x)), pair.theirs(torch.tensor(x).permute(0, 3, 1, 2)).detach()]
    for a, b in zip(evaluated, trained, strict=True):
        assert np.array_equal(a, b)
    assert difference(np.asarray(trained[0]), trained[1].numpy()) <= TOLERANCES["float32"].forward
    assert all(value.equal(before[name]) for name, value in pair.theirs.state_dict().items())


def test_trunks_that_are_trained_follow_the_mode():
    pair = model_pair("transfer", options={**FROZEN, "trained": "all"}, dtype="float32")
    assert not pair.ours.trunks[0].features[1].use_running_average and pair.theirs.trunks[0].training


def test_a_new_model_is_in_its_training_mode():
    model = nnx.eval_shape(lambda: flax_models.MODELS["transfer"](**FROZEN, rngs=nnx.Rngs(0)))
    assert model.trunks[0].features[1].use_running_average
    assert not torch_models.MODELS["transfer"](**FROZEN).trunks[0].features[1].training


@pytest.mark.heavy
def test_trunks_of_all_families_can_be_joined_and_scripted():
    model = torch_models.MODELS["transfer"](
        trunks="alexnet+vgg11+googlenet+resnet18", trained="head", **SMALL
    )
    scripted, images = torch.jit.script(model.eval()), torch.randn(2, 3, 64, 64)
    assert torch.allclose(scripted(images), model(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trunks": "resnet19"}, "'resnet19' is not a trunk: there are alexnet, vgg11, "),
        ({"trunks": "resnet18+"}, "'' is not a trunk"),
        ({"trained": "trunk"}, 'trained is "all" or "head", got \'trunk\''),
    ],
)
def test_other_options_are_refused(options, message):
    for build in (
        lambda: nnx.eval_shape(lambda: flax_models.MODELS["transfer"](**options, **SMALL, rngs=nnx.Rngs(0))),
        lambda: torch_models.MODELS["transfer"](**options, **SMALL),
    ):
        with pytest.raises(ValueError) as error:
            build()
        assert message in str(error.value)
