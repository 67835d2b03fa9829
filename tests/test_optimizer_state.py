"""Optimizer state crosses both ways, and a run goes on in the other framework as if nothing was."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from convert import optimizer_to_flax, optimizer_to_torch, to_torch
from convert.certificate.tolerances import TOLERANCES, difference
from convert.weights import ConversionError, leaves_to_torch, plan
from flax_models import layers
from flax_models.layers import Linear, Sequential, Tanh
from train.optim import OPTIMIZERS

CONFIGS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 1e-3}),
    "adagrad": ("Adagrad", {"lr": 0.1, "lr_decay": 0.01}),
    "rmsprop": ("RMSprop", {"lr": 0.01, "momentum": 0.9, "centered": True}),
    "adam": ("Adam", {"lr": 0.01, "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.01, "betas": (0.5, 0.999)}),
}


def twins():
    rngs = nnx.Rngs(0)
    ours = Sequential(
        layers.Conv2d(2, 3, 2, param_dtype=jnp.result_type(float), rngs=rngs), Tanh(), layers.Flatten(),
        Linear(12, 4, param_dtype=jnp.result_type(float), rngs=rngs),
    )  # fmt: skip
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 2), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(12, 4)
    )
    return ours, to_torch(ours, theirs.to(torch.float64 if jax.config.jax_enable_x64 else torch.float32))


class Side:
    """One framework's half of a small regression, step by step."""

    def __init__(self, ours, theirs, name, arguments):
        self.graph, params = nnx.split(ours)
        self.params = nnx.to_pure_dict(params)
        self.tx = OPTIMIZERS[name](**arguments)
        self.state = self.tx.init(self.params)
        self.theirs = theirs
        self.optimizer = getattr(torch.optim, name)(theirs.parameters(), **arguments)

    def flax_step(self, x):
        gradients = jax.grad(lambda p: (nnx.merge(self.graph, p)(x) ** 2).sum())(self.params)
        updates, self.state = self.tx.update(gradients, self.state, self.params)
        self.params = optax.apply_updates(self.params, updates)

    def torch_step(self, x):
        self.optimizer.zero_grad()
        (self.theirs(torch.tensor(x.transpose(0, 3, 1, 2))) ** 2).sum().backward()
        self.optimizer.step()

    def flax_model(self):
        return nnx.merge(self.graph, self.params)

    def error(self):
        from flax import traverse_util

        flat = {path: np.asarray(a) for path, a in traverse_util.flatten_dict(self.params).items()}
        ours = leaves_to_torch(plan(self.flax_model()), flat)
        return max(difference(ours[n], t.detach().numpy()) for n, t in self.theirs.named_parameters())


def batches(count):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((5, 3, 3, 2)) for _ in range(count)]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_run_moves_to_torch_in_mid_training(config):
    with jax.enable_x64(True):
        side = Side(*twins(), *CONFIGS[config])
        for x in batches(3):
            side.flax_step(x)
        to_torch(side.flax_model(), side.theirs)
        optimizer_to_torch(side.state, side.flax_model(), side.theirs, side.optimizer)
        for x in batches(5):
            side.flax_step(x)
            side.torch_step(x)
        assert side.error() < TOLERANCES["float64"].steps


@pytest.mark.parametrize("config", CONFIGS)
def test_a_run_moves_to_flax_in_mid_training(config):
    from convert import to_flax

    with jax.enable_x64(True):
        side = Side(*twins(), *CONFIGS[config])
        for x in batches(3):
            side.torch_step(x)
        model = to_flax(side.theirs, side.flax_model())
        side.params = nnx.to_pure_dict(nnx.state(model))
        side.state = optimizer_to_flax(side.optimizer, side.theirs, side.state, model)
        for x in batches(5):
            side.flax_step(x)
            side.torch_step(x)
        assert side.error() < TOLERANCES["float64"].steps


def test_optax_adam_crosses_too():
    with jax.enable_x64(True):
        side = Side(*twins(), "Adam", {"lr": 0.01})
        side.tx = optax.adam(0.01)
        side.state = side.tx.init(side.params)
        for x in batches(3):
            side.flax_step(x)
        to_torch(side.flax_model(), side.theirs)
        optimizer_to_torch(side.state, side.flax_model(), side.theirs, side.optimizer)
        for x in batches(3):
            side.flax_step(x)
            side.torch_step(x)
        assert side.error() < TOLERANCES["float64"].steps


def test_a_state_without_counterpart_is_named():
    ours, theirs = twins()
    state = optax.lion(1e-3).init(nnx.to_pure_dict(nnx.state(ours)))
    with pytest.raises(ConversionError, match="no rule for the optimizer state"):
        optimizer_to_torch(state, ours, theirs, torch.optim.Adam(theirs.parameters()))


def test_a_moment_that_torch_lacks_is_named():
    with jax.enable_x64(True):
        side = Side(*twins(), "Adam", {"lr": 0.01})
        side.torch_step(batches(1)[0])
        amsgrad = OPTIMIZERS["Adam"](amsgrad=True).init(side.params)
        with pytest.raises(ConversionError, match=r"keeps no max_exp_avg_sq for 0\.weight"):
            optimizer_to_flax(side.optimizer, side.theirs, amsgrad, side.flax_model())


def test_before_the_first_step_torch_keeps_nothing():
    ours, theirs = twins()
    optimizer = torch.optim.Adam(theirs.parameters())
    optimizer_to_torch(OPTIMIZERS["Adam"]().init(nnx.to_pure_dict(nnx.state(ours))), ours, theirs, optimizer)
    assert optimizer.state_dict()["state"] == {}


def test_configs_cover_every_optimizer():
    from train.optim import OPTIMIZER_CLASSES

    assert {name for name, _ in CONFIGS.values()} == OPTIMIZER_CLASSES.keys() == OPTIMIZERS.keys()
    for name, cls in OPTIMIZER_CLASSES.items():
        defaults = getattr(torch.optim, name)([torch.zeros(1)]).defaults
        assert all(defaults[key] == value for key, value in dataclasses.asdict(cls()).items())
