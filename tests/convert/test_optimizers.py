"""Optimizer state crosses both ways, and a run goes on in the other framework as if nothing was."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
import pytest
import torch
from flax import nnx, traverse_util

import torch_models
from convert import optimizer_to_flax, optimizer_to_torch, to_flax, to_torch
from convert.certificate.tolerances import difference
from convert.optimizers import build_torch_optimizers
from convert.weights import ConversionError, leaves_to_torch, plan
from flax_models import layers
from tests.agreement import STEPS
from tests.compilation import QUICK
from tests.conftest import tiny_recipe
from tests.pairs import Pair, make_pair
from tests.train.optim.against_torch import ROWS
from train.optim import OPTIMIZERS, SGD, Adam, to_optax

pytestmark = pytest.mark.standard_promotion("training runs under jax's default promotion")
# Two configs of every optimizer: the plain one, and one with every field of its state in use.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{name} {kind}": (name, options)
    for name, row in ROWS.items()
    for kind, options in (("plain", row.cases[0]), ("full", {"lr": 0.05, **row.full}))
}


def make_twins() -> Pair:
    """A small network in float64."""

    def ours() -> nnx.Module:
        rngs = nnx.Rngs(0)
        layer = layers.Conv2d(2, 3, 2, rngs=rngs)
        return layers.Sequential(layer, layers.Tanh(), layers.Flatten(), layers.Linear(12, 4, rngs=rngs))

    def theirs() -> torch.nn.Module:
        layer = torch.nn.Conv2d(2, 3, 2)
        return torch.nn.Sequential(layer, torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(12, 4))

    return make_pair(ours, theirs)


class Training:
    """A small regression in both frameworks, each side with its own steps. Use it under jax.enable_x64."""

    def __init__(self, name: str, arguments: dict[str, Any], tx: optax.GradientTransformation | None = None):
        ours, self.theirs = make_twins()
        self.graph, params = nnx.split(ours)
        self.params = nnx.to_pure_dict(params)
        self.tx = tx or to_optax(OPTIMIZERS[name](**arguments))
        self.state = self.tx.init(self.params)
        self.optimizer = getattr(torch.optim, name)(self.theirs.parameters(), **arguments)
        self._step = jax.jit(self._flax_step, compiler_options=QUICK)

    def _flax_step(self, params: Any, state: Any, x: Any) -> Any:
        def loss_of(params: Any) -> Any:
            model: Any = nnx.merge(self.graph, params)
            return (model(x) ** 2).sum()

        updates, state = self.tx.update(jax.grad(loss_of)(params), state, params)
        return optax.apply_updates(params, updates), state

    def flax_step(self, x: np.ndarray) -> None:
        self.params, self.state = self._step(self.params, self.state, x)

    def torch_step(self, x: np.ndarray) -> None:
        self.optimizer.zero_grad()
        (self.theirs(torch.tensor(x.transpose(0, 3, 1, 2))) ** 2).sum().backward()
        self.optimizer.step()

    def flax_model(self) -> Any:
        return nnx.merge(self.graph, self.params)

    def error(self) -> float:
        """The largest difference of a parameter."""
        flat = {path: np.asarray(a) for path, a in traverse_util.flatten_dict(self.params).items()}
        ours = leaves_to_torch(plan(self.flax_model()), flat)
        return max(difference(ours[n], t.detach().numpy()) for n, t in self.theirs.named_parameters())


def batches(count):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((5, 3, 3, 2)) for _ in range(count)]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_run_moves_to_torch_in_mid_training(config):
    with jax.enable_x64(True):
        run = Training(*CONFIGS[config])
        for x in batches(3):
            run.flax_step(x)
        to_torch(run.flax_model(), run.theirs)
        optimizer_to_torch(run.state, run.flax_model(), run.theirs, run.optimizer)
        for x in batches(5):
            run.flax_step(x)
            run.torch_step(x)
        assert run.error() < STEPS


@pytest.mark.parametrize("config", CONFIGS)
def test_a_run_moves_to_flax_in_mid_training(config):
    with jax.enable_x64(True):
        run = Training(*CONFIGS[config])
        for x in batches(3):
            run.torch_step(x)
        model = to_flax(run.theirs, run.flax_model())
        run.params = nnx.to_pure_dict(nnx.state(model))
        run.state = optimizer_to_flax(run.optimizer, run.theirs, run.state, model)
        for x in batches(5):
            run.flax_step(x)
            run.torch_step(x)
        assert run.error() < STEPS


def test_optax_adam_crosses_too():
    with jax.enable_x64(True):
        run = Training("Adam", {"lr": 0.01}, optax.adam(0.01))
        for x in batches(3):
            run.flax_step(x)
        to_torch(run.flax_model(), run.theirs)
        optimizer_to_torch(run.state, run.flax_model(), run.theirs, run.optimizer)
        for x in batches(3):
            run.flax_step(x)
            run.torch_step(x)
        assert run.error() < STEPS


def test_a_state_without_counterpart_is_named():
    ours, theirs = make_twins()
    state = optax.lion(1e-3).init(nnx.to_pure_dict(nnx.state(ours)))
    with pytest.raises(ConversionError, match="no rule for the optimizer state"):
        optimizer_to_torch(state, ours, theirs, torch.optim.Adam(theirs.parameters()))


def test_a_moment_that_torch_lacks_is_named():
    with jax.enable_x64(True):
        run = Training("Adam", {"lr": 0.01})
        run.torch_step(batches(1)[0])
        amsgrad = to_optax(Adam(amsgrad=True)).init(run.params)
        with pytest.raises(ConversionError, match=r"keeps no max_exp_avg_sq for 0\.weight"):
            optimizer_to_flax(run.optimizer, run.theirs, amsgrad, run.flax_model())


def test_before_the_first_step_torch_keeps_nothing():
    ours, theirs = make_twins()
    optimizer = torch.optim.Adam(theirs.parameters())
    optimizer_to_torch(to_optax(Adam()).init(nnx.to_pure_dict(nnx.state(ours))), ours, theirs, optimizer)
    assert optimizer.state_dict()["state"] == {}


def test_every_optimizer_is_here():
    assert {name for name, _ in CONFIGS.values()} == OPTIMIZERS.keys()


def test_a_recipes_optimizers_are_torchs_with_its_arguments():
    recipe = tiny_recipe("dcgan", generator_optimizer=SGD(lr=0.1, momentum=0.5, weight_decay=0.01))
    model = torch_models.MODELS["dcgan"](**recipe.options)
    optimizers = build_torch_optimizers(recipe, model)
    assert optimizers.keys() == {"generator", "discriminator"}
    assert type(optimizers["generator"]) is torch.optim.SGD
    assert type(optimizers["discriminator"]) is torch.optim.Adam
    for child, config in recipe.optimizers.items():
        (group,) = optimizers[child].param_groups
        assert {name: group[name] for name in dataclasses.asdict(config)} == dataclasses.asdict(config)
        trained = list(getattr(model, child).parameters())
        assert all(a is b for a, b in zip(group["params"], trained, strict=True))
