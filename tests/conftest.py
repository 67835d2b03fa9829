"""What all tests share: tiers, one place for compiled programs, strict promotion, and a small trained run."""

import dataclasses
import importlib.util
import os
from pathlib import Path
from typing import Any

import hypothesis
import jax
import pytest
from hypothesis import HealthCheck, Phase

from convert.twins import TWINS
from tests.compilation import quicken
from train.optim import Adam
from train.recipes import RECIPES

HAS_TORCH = importlib.util.find_spec("torch") is not None

# The everyday tier (-m "not heavy") has a model for every kind of layer and task; the full run has them all.
EVERYDAY = {
    "linear_regression", "mlp_bn", "lenet5", "transfer", "lstm_regressor", "ngram_lm", "lstm_tagger",
    "seq2seq", "ctc_reader", "captioner", "conv_autoencoder", "vae", "lsgan", "cyclegan",
}  # fmt: skip
MODELS = [pytest.param(name, marks=[] if name in EVERYDAY else pytest.mark.heavy, id=name) for name in TWINS]
"""The models of the catalogue as parameters of a test."""
# How many cases a property test draws in each tier.
EXAMPLES = {"everyday": 12, "full": 60}


def pytest_configure(config: pytest.Config) -> None:
    """Chooses the number of drawn cases by the tier."""
    tier = "everyday" if "not heavy" in (config.getoption("markexpr") or "") else "full"
    for name, examples in EXAMPLES.items():
        hypothesis.settings.register_profile(
            name, derandomize=True, deadline=None, max_examples=examples, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
    hypothesis.settings.load_profile(tier)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without torch, only the files that are marked jax_only are imported, and the folders that hold some."""
    if HAS_TORCH:
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return not any("mark.jax_only" in file.read_text() for file in files) or None


@pytest.fixture(scope="session", autouse=HAS_TORCH)
def one_torch_thread() -> None:
    """torch computes in one thread: on small tensors a second thread only waits, and waits busily."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same small models are built by many tests: compiled once, for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    jax.config.update("jax_compilation_cache_dir", str(shared / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(autouse=True)
def strict_promotion(request: pytest.FixtureRequest) -> Any:
    """Strict dtype promotion: arrays of two dtypes are mixed only where the code says so.

    The marker standard_promotion turns it off for a test, with the reason.
    """
    if request.node.get_closest_marker("standard_promotion"):
        yield
        return
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def quick_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons, certificates and training steps compile without XLA's optimisation."""
    quicken(monkeypatch)


@pytest.fixture
def float64() -> Any:
    """jax in float64, with the highest matmul precision."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder; the embedded sets are prepared in it on first use."""
    return tmp_path_factory.mktemp("data")


def tiny_recipe(model: str = "dcgan", **fields: Any) -> Any:
    """A model's recipe on its small variant, a few steps long."""
    small = {"options": dict(TWINS[model].tiny), "batch_size": 16, "take": 64, "steps": 6, "log_every": 2}
    return dataclasses.replace(RECIPES[model], **{**small, **fields})


def plain_gan(**fields: Any) -> Any:
    """A GAN of two small MLPs: two optimizers, batch statistics, latents, and samples. It compiles fast.

    Its discriminator sees the images as they are, and no weights are averaged.
    """
    adam = Adam(lr=2e-4, betas=(0.5, 0.999))
    plain = {"translation": None, "instance_noise": None, "final_instance_noise": 0.0, "ema": None}
    optimizers = {"generator_optimizer": adam, "discriminator_optimizer": adam}
    return tiny_recipe("mlp_gan", **{**plain, **optimizers, **fields})


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """The folder of a finished tiny run of mlp_gan: two optimizers with moments, and batch statistics."""
    from train.engine.loop import train

    workdir = tmp_path_factory.mktemp("runs") / "mlp_gan"
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        train(plain_gan(), workdir, data_dir)
    return workdir
