"""Certificates and pairs of the catalogue, made once each for all tests that look at them."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from convert import Certificate, verify
from convert.twins import TWINS
from tests.compilation import quicken
from tests.pairs import Pair, model_pair
from train.recipes import RECIPES

# Five critic steps compile five times as long as one, and two show as much.
QUICKER = {"wgan": {"critic_steps": 2}, "wgan_gp": {"critic_steps": 2}}
# Instance norm treats every image by itself.
BATCH_SIZES = {"cyclegan": 2}
# These compile as a user's program does: one model per kind of task, and the convolutions of full size, which
# take longer to run without XLA's optimisation than to optimise.
OPTIMISED = {
    "cnn_log_softmax", "cnn_same", "cifar_quick", "autoencoder", "cgan", "gru_regressor", "resnet18",
    "linear_regression",
}  # fmt: skip


@cache
def _certificate(model: str, dtype: str) -> Certificate:
    # Of the large ones as much as the suite has time for; docs/models.md holds the whole certificates.
    steps, batch = (4, BATCH_SIZES.get(model, 8)) if TWINS[model].large else (20, 16)
    recipe = dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny), **QUICKER.get(model, {}))
    return verify(model, recipe=recipe, dtypes=(dtype,), steps=steps, batch=batch)


@pytest.fixture
def certificate_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Certificate]:
    """The certificate of the small variant of a model, in one dtype."""

    def certificate(model: str, dtype: str = "float64") -> Certificate:
        with monkeypatch.context() as patch:
            if model not in OPTIMISED:
                quicken(patch)
            return _certificate(model, dtype)

    return certificate


@pytest.fixture(scope="module")
def pair_of() -> Iterator[Callable[[str], Pair]]:
    """The float32 pair of the small variant of a model; a test leaves it as it was."""
    yield cache(lambda model: model_pair(model, dtype="float32"))
