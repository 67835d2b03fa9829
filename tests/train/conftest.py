"""Finished runs that several tests read. Tests that change one copy it first."""

import os
from pathlib import Path
from typing import Any

import jax
import pytest

from tests.conftest import plain_gan, tiny_recipe
from train.optim import SGD
from train.recipes import Recipe


@pytest.fixture(scope="session", autouse=True)
def shared_compilation_cache(compilation_cache) -> None:
    """Commands that a test calls keep compiled programs in the folder of the tests, and not in the user's."""
    config: Any = jax.config
    os.environ["JAX_COMPILATION_CACHE_DIR"] = config.jax_compilation_cache_dir


def small_recipe(**fields: Any) -> Recipe:
    """A small GAN with one step in a dispatch, whose images are saved at the end."""
    return plain_gan(**{"steps_per_call": 1, "sample_every": 6, **fields})


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, data_dir) -> Path:
    """The folder of a finished run of `small_recipe`."""
    from train.engine.loop import train

    workdir = tmp_path_factory.mktemp("runs") / "mlp_gan"
    train(small_recipe(), workdir, data_dir)
    return workdir


@pytest.fixture(scope="session")
def classifier(tmp_path_factory, data_dir) -> Path:
    """The folder of a finished run of a small MLP on the digits, four epochs."""
    from train.engine.loop import train

    workdir = tmp_path_factory.mktemp("runs") / "mlp"
    recipe = tiny_recipe(
        "fashion_mlp", take=None, steps=None, epochs=4, batch_size=100, optimizer=SGD(lr=0.1, momentum=0.9)
    )
    train(recipe, workdir, data_dir)
    return workdir


@pytest.fixture(scope="session")
def painter(tmp_path_factory, data_dir) -> Path:
    """The folder of a finished run of painter_gan, whose examples are curves."""
    from train.engine.loop import train

    workdir = tmp_path_factory.mktemp("runs") / "painter_gan"
    train(tiny_recipe("painter_gan", take=None, sample_every=6), workdir, data_dir, quiet=True)
    return workdir


@pytest.fixture(scope="session")
def conditional(tmp_path_factory, data_dir) -> Path:
    """The folder of a finished tiny run of cgan that keeps an average of the weights."""
    from train.engine.loop import train

    workdir = tmp_path_factory.mktemp("runs") / "cgan"
    train(tiny_recipe("cgan", ema=0.5, sample_every=2), workdir, data_dir)
    return workdir
