"""What all tests share: one place for compiled programs and a small trained run."""

import dataclasses
import os
from pathlib import Path

import jax
import pytest
import torch

from convert.twins import TWINS
from train.recipes import RECIPES, Recipe

# On tensors as small as these a second thread only waits, and waits busily.
torch.set_num_threads(1)


# These compile for a minute and more. Their blocks, keys and forward passes have tests of their own.
HEAVY = {
    "vgg13", "vgg16", "vgg19", "vgg13_bn", "vgg16_bn", "vgg19_bn", "resnet34", "resnet50", "googlenet",
    "wgan",
}  # fmt: skip
MODELS = [model for model in TWINS if model not in HEAVY]


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """The same small models are built by many tests: compiled once, for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    jax.config.update("jax_compilation_cache_dir", str(shared / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """A data folder; the embedded sets are prepared in it on first use."""
    return tmp_path_factory.mktemp("data")


def tiny_recipe(model: str = "dcgan", **fields) -> Recipe:
    """A model's recipe on its small variant, a few steps long."""
    small = {"options": dict(TWINS[model].tiny), "batch_size": 16, "take": 64, "steps": 6, "log_every": 2}
    return dataclasses.replace(RECIPES[model], **{**small, **fields})


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, data_dir) -> Path:
    """The folder of a finished tiny run of dcgan."""
    from train.engine.loop import train

    workdir = tmp_path_factory.mktemp("runs") / "dcgan"
    train(tiny_recipe(), workdir, data_dir)
    return workdir
