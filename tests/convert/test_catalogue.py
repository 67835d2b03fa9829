"""Every model of the catalogue: it crosses to the bit, its certificate passes, and its exports agree."""

import jax.numpy as jnp
import numpy as np
import pytest

import torch_models
from convert import Certificate, to_flax, to_torch
from convert.certificate.tolerances import TOLERANCES
from convert.formats import FORMATS
from convert.formats.alone import check_export
from convert.twins import TWINS, child_of, find_twin
from convert.weights import flat_variables
from tests.conftest import EVERYDAY, MODELS
from train.recipes import RECIPES

# Each class is exported once: lsgan's generator is gan's. The everyday tier exports one of each kind.
CLASSES = {torch_models.MODELS[model]: model for model in sorted(TWINS, key=EVERYDAY.__contains__)}
EVERYDAY_EXPORTS = {"lenet5", "lstm_tagger", "seq2seq"}
EXPORTED = [
    pytest.param(model, marks=[] if model in EVERYDAY_EXPORTS else pytest.mark.heavy)
    for model in CLASSES.values()
]


# In float32 the same meanings show, less sharply: one model of each family stands for it.
IN_FLOAT32 = [
    "linear_regression", "mlp_bn", "lstm_regressor",
    pytest.param("lenet5", marks=pytest.mark.heavy), pytest.param("dcgan", marks=pytest.mark.heavy),
]  # fmt: skip


def test_the_everyday_tier_has_every_task():
    assert set(TWINS) >= EVERYDAY
    assert set(CLASSES.values()) >= EVERYDAY_EXPORTS
    assert {RECIPES[model].task for model in EVERYDAY} == {recipe.task for recipe in RECIPES.values()}


@pytest.mark.parametrize("model", MODELS)
def test_there_and_back_is_the_same_to_the_bit(model, pair_of):
    ours, theirs = pair_of(model)
    before = {path: np.asarray(variable[...]) for path, variable in flat_variables(ours).items()}
    for variable in flat_variables(ours).values():
        variable[...] = jnp.zeros_like(variable[...])
    to_flax(theirs, ours)
    after = {path: np.asarray(variable[...]) for path, variable in flat_variables(ours).items()}
    assert before.keys() == after.keys()
    for path, values in before.items():
        assert np.array_equal(values, after[path]) and after[path].dtype == values.dtype
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    again = to_torch(ours, torch_models.MODELS[model](**TWINS[model].tiny)).state_dict()
    assert all(again[name].equal(tensor) for name, tensor in state.items())


CHAOTIC = {"googlenet", "resnet50"}
"""Models whose training amplifies rounding so much that torch leaves torch within 20 steps."""


def assert_complete(certificate: Certificate, dtype: str) -> None:
    """The certificate passes, and it compares what it should."""
    assert certificate.passed, f"\n{certificate}"
    names = {check.name for check in certificate.checks}
    steps = {name for name in names if name.startswith(f"{certificate.steps} steps")}
    assert {check.dtype for check in certificate.checks} == {dtype}
    assert {"forward, eval", "forward, train"} <= names
    assert any(name.startswith("gradients") for name in names)
    assert any(name.endswith(", losses") for name in steps)
    assert any(check.error > 0 for check in certificate.checks)
    assert any(layer.gradient is not None for layer in certificate.layers)


@pytest.mark.parametrize("model", MODELS)
def test_the_twins_agree(model, certificate_of):
    certificate = certificate_of(model)
    assert_complete(certificate, "float64")
    assert any(check.error > 0 for check in certificate.checks[:3])
    assert any(layer.gradient for layer in certificate.layers)
    kind = f"{certificate.steps} steps" + (", each from torch's state" if model in CHAOTIC else "")
    names = {check.name for check in certificate.checks}
    assert {"gradients", f"{kind}, parameters and buffers", f"{kind}, losses"} <= names


@pytest.mark.parametrize("model", IN_FLOAT32)
def test_the_twins_agree_in_float32(model, certificate_of):
    assert_complete(certificate_of(model, "float32"), "float32")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("model", EXPORTED)
def test_an_export_gives_what_the_flax_model_gives(model, form, pair_of, tmp_path):
    ours, theirs = pair_of(model)
    for child in TWINS[model].exported:
        module = child_of(theirs, child)
        path = FORMATS[form].write(module, tmp_path / f"{child or 'model'}{FORMATS[form].suffix}")
        twin = find_twin(model, TWINS[model].tiny)
        error = check_export(path, FORMATS[form], child_of(ours, child), twin.examples[child], twin.methods)
        assert error <= TOLERANCES["float32"].forward
        assert module.training, "exporting must leave the module as it was"


def test_a_model_of_the_user_has_no_twin():
    with pytest.raises(
        ValueError, match=r"package\.module:Class has no twin .* convert\.to_torch\(run\.model"
    ):
        find_twin("package.module:Class")
