"""What a certificate shows, how it finds what differs, and why large and chaotic models are treated apart."""

import copy
import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

import torch_models
from convert import verify
from convert.certificate import lockstep
from convert.certificate.tolerances import TOLERANCES, difference
from convert.twins import TWINS
from convert.weights import flat_variables
from tests.conftest import tiny_recipe
from train.recipes import RECIPES
from train.tasks.models import build_model

pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]
TINY = dict(TWINS["dcgan"].tiny)


@pytest.mark.heavy
def test_the_steps_of_a_large_model_are_those_of_its_small_variant():
    options = {**TWINS["alexnet"].tiny, "width": 16}  # stands for the full-size one
    certificate = verify("alexnet", options=options, dtypes=("float64",), steps=2)
    assert certificate.passed and certificate.options == options
    names = [check.name for check in certificate.checks if "steps" in check.name]
    assert names and all(name.startswith("2 steps of the small variant, ") for name in names)


def scale_matrices(model: torch.nn.Module) -> None:
    """Matrices of deviation 1 / sqrt(fan_in), as the certificate's random weights have it."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter /= parameter.std() * parameter[0].numel() ** 0.5


@pytest.mark.parametrize(("drift", "chaotic"), [(1e-3, True), (1e-12, False)])
def test_steps_start_from_torchs_state_where_torch_leaves_torch(drift, chaotic, monkeypatch):
    """The free steps are made to be off by 1e-6, and torch from its neighbour by `drift`."""
    real = {}

    def steps(*args, free, **kwargs):
        found = lockstep.run_lockstep(*args, free=free, **kwargs)
        if free:
            return found._replace(leaves={**found.leaves, "fc.0.weight": 1e-6})
        real.update(found.drift)
        return found._replace(drift={**found.drift, "fc.0.weight": drift})

    monkeypatch.setattr("convert.certificate.verify.run_lockstep", steps)
    certificate = verify("fashion_mlp", options=TWINS["fashion_mlp"].tiny, dtypes=("float64",), steps=2)
    kind = "2 steps, each from torch's state, " if chaotic else "2 steps, "
    names = [check.name.removeprefix(kind) for check in certificate.checks if "steps" in check.name]
    assert names[:2] == ["losses", "parameters and buffers"]
    assert certificate.passed == chaotic, "what torch does not do either is an error"
    assert 0 < max(real.values()) < 1e-12, "the real model keeps its rounding"


def hurry_torch(monkeypatch, child: str) -> None:
    """Gives the torch optimizer of a child a learning rate that is too large by a thousandth."""
    build = lockstep.build_torch_optimizers

    def hurried(recipe, model):
        optimizers = build(recipe, model)
        optimizers[child].param_groups[0]["lr"] *= 1.001
        return optimizers

    monkeypatch.setattr(lockstep, "build_torch_optimizers", hurried)


@pytest.mark.heavy
def test_a_wrong_rate_of_a_chaotic_model_fails(monkeypatch):
    hurry_torch(monkeypatch, "")
    certificate = verify("resnet50", options=TWINS["resnet50"].tiny, dtypes=("float64",), steps=4)
    failed = [check.name for check in certificate.checks if not check.passed]
    assert failed and all(name.startswith("4 steps, each from torch's state, ") for name in failed)


@pytest.mark.heavy
def test_in_float32_the_gradients_of_a_large_model_are_not_torchs_own():
    """Why the certificate takes them in float64 alone."""
    torch.manual_seed(0)
    twin = torch_models.MODELS["vgg19_bn"](**TWINS["vgg19_bn"].tiny, dropout=0.0)
    scale_matrices(twin)
    images, along = torch.randn(16, 3, 32, 32), torch.randn(16, 10)

    def gradients(model: Any, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        outputs = (model(images.to(dtype)) * along.to(dtype)).sum()
        return torch.autograd.grad(outputs, list(model.parameters()))

    single, double = gradients(twin, torch.float32), gradients(copy.deepcopy(twin).double(), torch.float64)
    errors = [difference(a.numpy(), b.numpy()) for a, b in zip(single, double, strict=True)]
    assert max(errors) > TOLERANCES["float32"].gradient


def test_the_certificate_is_written_for_machines(certificate_of, tmp_path):
    certificate_of("linear_regression").write(tmp_path / "certificate.json")
    values = json.loads((tmp_path / "certificate.json").read_text())
    assert values["passed"] is True and values["first_divergence"] is None
    assert values["versions"]["torch"] and values["seed"] == 0
    assert {"dtype", "name", "error", "tolerance", "worst", "passed"} == set(values["checks"][0])
    assert {check["dtype"] for check in values["checks"]} == {"float64"}


def test_the_certificate_is_shown_to_people(certificate_of):
    text = str(certificate_of("linear_regression"))
    assert "linear_regression, random weights, seed 0" in text and "the twins agree" in text
    assert "FAIL" not in text and "exempt" not in text
    text = " ".join(str(certificate_of("mlp_bn")).split())
    assert "exempt from the step check (true gradient zero): fc.1.bias, fc.2.running_mean" in text


@pytest.fixture
def eps_of_the_wrong_meaning(monkeypatch):
    """One batch norm whose eps is not torch's."""
    from flax_models.gan import DCGANGenerator

    original = DCGANGenerator.__init__

    def wrong(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.fc[5].eps = 1.1e-5

    monkeypatch.setattr(DCGANGenerator, "__init__", wrong)


def test_a_wrong_eps_fails_and_is_located(eps_of_the_wrong_meaning):
    certificate = verify("dcgan", options=TINY, dtypes=("float64",), steps=2)
    assert not certificate.passed
    assert certificate.first_divergence == "generator.fc.5 (float64)"
    assert "THE TWINS DO NOT AGREE" in str(certificate) and "FAIL" in str(certificate)


def test_a_wrong_learning_rate_shows_in_the_steps_only(monkeypatch):
    hurry_torch(monkeypatch, "generator")
    certificate = verify("dcgan", options=TINY, dtypes=("float64",), steps=3)
    failed = {check.name for check in certificate.checks if not check.passed}
    assert failed and all(name.startswith("3 steps") for name in failed)


def test_given_weights_are_the_ones_compared():
    recipe = dataclasses.replace(RECIPES["dcgan"], options=TINY)
    values = {path: np.asarray(v[...]) for path, v in flat_variables(build_model(tiny_recipe())).items()}
    broken = {path: value * np.nan if path[-1] == "running_var" else value for path, value in values.items()}
    assert verify("dcgan", recipe=recipe, values=values, dtypes=("float32",), steps=1).passed
    assert not verify("dcgan", recipe=recipe, values=broken, dtypes=("float32",), steps=1).passed


def test_an_unknown_model_is_named():
    with pytest.raises(ValueError, match="unknown model 'dcgam': did you mean dcgan"):
        verify("dcgam")
