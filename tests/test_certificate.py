"""Every model's certificate passes, and one that should not does not."""

import dataclasses
import json

import numpy as np
import pytest

from convert import verify
from convert.twins import TWINS
from train.recipes import RECIPES
from train.state import build_model


@pytest.mark.parametrize("model", TWINS)
def test_the_twins_agree(model):
    certificate = verify(model, options=TWINS[model].tiny)
    assert certificate.passed, f"\n{certificate}"
    names = {(check.dtype, check.name) for check in certificate.checks}
    assert {
        ("float64", "20 steps, parameters and buffers"),
        ("float64", "20 steps, optimizer state"),
    } <= names
    assert {("float32", "forward, eval"), ("float64", "gradients")} <= names
    assert any(dtype == "float32" and name.startswith("gradients") for dtype, name in names)
    assert all(check.error > 0 or "buffers" in check.name for check in certificate.checks[:3])
    layers = {layer.name for layer in certificate.layers}
    assert layers and any(layer.gradient for layer in certificate.layers)


def test_the_certificate_is_written_for_machines(tmp_path):
    certificate = verify("dcgan", options=TWINS["dcgan"].tiny, dtypes=("float32",), steps=1)
    certificate.write(tmp_path / "certificate.json")
    values = json.loads((tmp_path / "certificate.json").read_text())
    assert values["passed"] is True and values["first_divergence"] is None
    assert values["versions"]["torch"] and values["seed"] == 0
    assert {"dtype", "name", "error", "tolerance", "worst", "passed"} == set(values["checks"][0])


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
    certificate = verify("dcgan", options=TWINS["dcgan"].tiny, dtypes=("float64",), steps=2)
    assert not certificate.passed
    assert certificate.first_divergence == "generator.fc.5 (float64)"
    assert "THE TWINS DO NOT AGREE" in str(certificate) and "FAIL" in str(certificate)


def test_a_wrong_learning_rate_shows_in_the_steps_only(monkeypatch):
    import convert.lockstep as lockstep

    build = lockstep.build_torch_optimizers

    def hurried(recipe, model):
        optimizers = build(recipe, model)
        optimizers["generator"].param_groups[0]["lr"] *= 1.001
        return optimizers

    monkeypatch.setattr(lockstep, "build_torch_optimizers", hurried)
    certificate = verify("dcgan", options=TWINS["dcgan"].tiny, dtypes=("float64",), steps=3)
    failed = {check.name for check in certificate.checks if not check.passed}
    assert failed and all(name.startswith("3 steps") for name in failed)


def test_given_weights_are_the_ones_compared():
    recipe = dataclasses.replace(RECIPES["dcgan"], options=dict(TWINS["dcgan"].tiny))
    from convert.weights import flat_variables

    values = {path: np.asarray(v[...]) for path, v in flat_variables(build_model(recipe)).items()}
    broken = {path: value * np.nan if path[-1] == "running_var" else value for path, value in values.items()}
    assert verify("dcgan", recipe=recipe, values=values, dtypes=("float32",), steps=1).passed
    assert not verify("dcgan", recipe=recipe, values=broken, dtypes=("float32",), steps=1).passed


def test_an_unknown_model_is_named():
    with pytest.raises(ValueError, match="unknown model 'dcgam': did you mean dcgan"):
        verify("dcgam")
