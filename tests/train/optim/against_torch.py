"""The table of optimizers under test, and steps of each beside those of its torch optimizer."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from convert.certificate.tolerances import TOLERANCES, difference
from train.optim import (
    OPTIMIZERS,
    clip_grad_norm,
    clip_grad_value,
    cosine_annealing_lr,
    exponential_lr,
    linear_lr,
    multi_step_lr,
    step_lr,
    to_optax,
)

Options = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """An optimizer under test.

    cases: arguments with which it takes torch's steps, besides the defaults. full: arguments with which every
    field of its state is in use. refused: arguments that torch refuses, besides numbers below 0.
    """

    cases: tuple[Options, ...]
    full: Options
    refused: tuple[Options, ...] = ()


_ADAM = Row(
    cases=(
        {"lr": 0.05},
        {"lr": 0.05, "betas": (0.5, 0.9)},
        {"lr": 0.01, "betas": (0.0, 0.0)},
        {"lr": 0.05, "eps": 0.1},
        {"lr": 0.05, "weight_decay": 0.0},
        {"lr": 0.05, "weight_decay": 0.3},
        {"lr": 0.05, "betas": (0.9, 0.5), "amsgrad": True},
        {"lr": 0.01, "betas": (0.3, 0.9), "weight_decay": 0.1, "amsgrad": True, "maximize": True},
    ),
    full={"amsgrad": True},
    refused=({"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}),
)
ROWS: dict[str, Row] = {
    "SGD": Row(
        cases=(
            {"lr": 0.1},
            {"lr": 0.1, "weight_decay": 0.03},
            {"lr": 0.05, "momentum": 0.9},
            {"lr": 0.05, "dampening": 0.5},
            {"lr": 0.05, "momentum": 0.9, "dampening": 0.5},
            {"lr": 0.05, "momentum": 0.9, "nesterov": True},
            {"lr": 1e-3, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1, "maximize": True},
            {"lr": 1e-3, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1, "maximize": True},
        ),
        full={"momentum": 0.9, "dampening": 0.1},
        refused=({"nesterov": True}, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    ),
    "Adagrad": Row(
        cases=(
            {"lr": 0.1, "lr_decay": 0.05},
            {"lr": 0.1, "weight_decay": 0.03},
            {"lr": 0.1, "initial_accumulator_value": 0.3},
            {"lr": 0.1, "eps": 0.1},
            {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-3, "maximize": True},
        ),
        full={},
    ),
    "RMSprop": Row(
        cases=(
            {"alpha": 0.8},
            {"alpha": 0.3, "centered": True},
            {"eps": 0.1},
            {"weight_decay": 0.03},
            {"momentum": 0.9},
            {"centered": True},
            {"momentum": 0.9, "centered": True, "weight_decay": 0.1, "maximize": True},
        ),
        full={"momentum": 0.9, "centered": True},
    ),
    "Adam": _ADAM,
    "AdamW": _ADAM,
}
"""The one table from which the generic tests are derived; it has every class of OPTIMIZERS."""

CASES = [(name, options) for name, row in ROWS.items() for options in ({}, *row.cases)]

SCHEDULES: dict[str, Callable[..., Any]] = {
    "StepLR": step_lr,
    "MultiStepLR": multi_step_lr,
    "ExponentialLR": exponential_lr,
    "CosineAnnealingLR": cosine_annealing_lr,
    "LinearLR": linear_lr,
}
SCHEDULE_CASES: list[tuple[str, Options]] = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 41, "gamma": 0.5}),  # in floating point 41 * (1 / 41) < 1
    ("MultiStepLR", {"milestones": [3, 20, 20, 33]}),
    ("MultiStepLR", {"milestones": [10, 30], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.97}),
    ("ExponentialLR", {"gamma": 0.0}),
    ("CosineAnnealingLR", {"T_max": 20}),  # in 50 steps the rate falls, rises and falls again
    ("CosineAnnealingLR", {"T_max": 50, "eta_min": 1e-3}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.7, "end_factor": 0.1, "total_iters": 30}),
    ("LinearLR", {"total_iters": 0}),
]
CLIPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "norm": (clip_grad_norm, torch.nn.utils.clip_grad_norm_),
    "value": (clip_grad_value, torch.nn.utils.clip_grad_value_),
}
"""Our clipping and torch's."""

STEPS_TOLERANCE = TOLERANCES["float64"].steps or 0.0
STEPS = 50
SHAPES: dict[str, tuple[int, ...]] = {"kernel": (4, 3), "scale": ()}


def describe(value: Any) -> str | None:
    """The name of a test case."""
    return ",".join(f"{k}={v}" for k, v in value.items()) or "defaults" if isinstance(value, dict) else None


def torch_optimizer(name: str, parameters: Any, **options: Any) -> torch.optim.Optimizer:
    """torch's optimizer of this name."""
    return getattr(torch.optim, name)(list(parameters), **options)


def random_tree(seed: int, dtype: Any, names: Any = SHAPES) -> dict[str, np.ndarray]:
    """Normal numbers of the shapes SHAPES."""
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.standard_normal(SHAPES[name]), dtype) for name in names}


def gradient(p: Any, noise: Any) -> Any:
    """The gradient of a loss that is not quadratic, for arrays of either framework."""
    return noise + p / (1 + p * p) + 0.1 * p * p * p


def largest_difference(
    name: str, options: Options, dtype: Any, *, schedule: tuple[str, Options] | None = None,
    clip: tuple[str, float] | None = None, compiled: bool = True,
) -> float:  # fmt: skip
    """The largest difference of a parameter or of a moment over STEPS steps of both optimizers.

    compiled: jit the step, and train a scalar beside the matrix; most of the time is then compilation.
    """
    config, lr = OPTIMIZERS[name](**options), None
    if schedule:
        lr = SCHEDULES[schedule[0]](config.lr, **schedule[1])
    optimizer = to_optax(config, lr=lr)
    if clip:
        optimizer = optax.chain(CLIPS[clip[0]][0](clip[1]), optimizer)

    def step(params: Any, state: Any, noise: Any) -> Any:
        grads = jax.tree.map(gradient, params, noise)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    names = list(SHAPES) if compiled else ["kernel"]
    step = jax.jit(step) if compiled else step
    start = random_tree(0, dtype, names)
    params: Any = jax.tree.map(jnp.asarray, start)
    state: Any = optimizer.init(params)
    twins = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
    twin = torch_optimizer(name, twins.values(), **asdict(config))
    twin_schedule = schedule and getattr(torch.optim.lr_scheduler, schedule[0])(twin, **schedule[1])

    largest = 0.0
    for number in range(STEPS):
        noise = random_tree(number + 1, dtype, names)
        params, state = step(params, state, noise)
        for key, p in twins.items():
            p.grad = gradient(p.detach(), torch.tensor(noise[key]))
        if clip:
            CLIPS[clip[0]][1](twins.values(), clip[1])
        twin.step()
        if twin_schedule:
            twin_schedule.step()
        moments = (state[1] if clip else state)._asdict()
        for key, p in twins.items():
            largest = max(largest, difference(params[key], p.detach().numpy()))
            for field, value in twin.state[p].items():
                ours = moments[field] if field == "step" else moments[field][key]
                largest = max(largest, difference(ours, np.asarray(value)))
    assert all(np.max(np.abs(params[key] - start[key])) > 1e-3 for key in start), "nothing was trained"
    return largest
