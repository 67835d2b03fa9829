"""Compares the training step of models with PyTorch's: `python -m benchmarks.train_step --model dcgan`.

Both frameworks do the same work: forward pass, backward pass and optimizer step on one batch with the same
random numbers, in float32, from the same weights, with the optimizers of the model's recipe. torch runs
eagerly and compiled (its modules and the steps of its optimizers). The last column is the shorter of these
two times divided by Flax's time: above 1, Flax is faster. All run in one process, interleaved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import torch_models
from benchmarks.common import (
    device_name,
    float32,
    on_torch,
    table_head,
    table_line,
    torch_device,
    torch_tensor,
    write_rows,
)
from benchmarks.timing import Timing, interleaved
from convert import to_torch
from convert.optimizers import build_torch_optimizers
from convert.twins import child_of, find_twin
from torch_models.steps import REFERENCE_STEPS
from train.backend import compiler_options
from train.command_line import parse_flags, run_command
from train.data.sources import Arrays
from train.recipes import RECIPES, Recipe, find_recipe
from train.tasks import build_task
from train.tasks.models import build_model

PROG = "python -m benchmarks.train_step"
COLUMNS = (
    "model", "batch", "device", "Flax ms", "torch eager ms", "torch.compile ms", "best torch / Flax"
)  # fmt: skip


@dataclass(frozen=True)
class Flags:
    """Compare the training step of models with torch eager and torch.compile."""

    model: tuple[str, ...]
    """Names of models, or "all"."""
    batch_size: int | None = None
    """Examples per step; by default the recipe's."""
    rounds: int = 10
    """Rounds, in each of which every contender takes three measured steps."""
    device: str | None = None
    """cpu, cuda ...; by default JAX's default."""
    json: Path | None = None
    """Also write the table to this file."""


@dataclass(frozen=True)
class Row:
    """The times of one step."""

    model: str
    batch_size: int
    device: str
    flax: Timing
    eager: Timing
    compiled: Timing

    @property
    def ratio(self) -> float:
        """The shorter of torch's times divided by Flax's."""
        return min(self.eager.median, self.compiled.median) / self.flax.median

    @property
    def cells(self) -> tuple[Any, ...]:
        """The row of the table."""
        return self.model, self.batch_size, self.device, self.flax, self.eager, self.compiled, self.ratio


def time_step(recipe: Recipe, batch_size: int, rounds: int) -> Row:
    """The times of a step in Flax, torch eager and torch compiled, from the same weights."""
    flax_model = build_model(recipe)
    rng = np.random.default_rng(0)
    examples = find_twin(recipe.model, recipe.options).batch
    batch = {name: float32(example.draw(rng, batch_size)) for name, example in examples.items()}
    task = build_task(recipe, flax_model)
    noise = {name: np.asarray(value) for name, value in task.draw(jax.random.key(0), batch_size).items()}
    contenders = {
        "flax": _flax_step(task, batch, noise),
        "eager": _torch_step(recipe, flax_model, batch, noise, compiled=False),
        "compiled": _torch_step(recipe, flax_model, batch, noise, compiled=True),
    }
    return Row(recipe.model, batch_size, device_name(), **interleaved(contenders, rounds=rounds))


def _flax_step(task: Any, batch: Arrays, noise: Arrays) -> Callable[[], object]:
    step = jax.jit(task.step, donate_argnums=0, compiler_options=compiler_options())
    state = jax.tree.map(jnp.copy, task.initial_state())
    on_device = jax.tree.map(jnp.asarray, (batch, noise))

    def call() -> None:
        nonlocal state
        state, losses = step(state, *on_device)
        jax.block_until_ready((state, losses))

    return call


def _torch_step(
    recipe: Recipe, flax_model: Any, batch: Arrays, noise: Arrays, *, compiled: bool
) -> Callable[[], object]:
    device = torch_device()
    model = to_torch(flax_model, torch_models.MODELS[recipe.model](**recipe.options)).to(device)
    optimizers = build_torch_optimizers(recipe, model)
    step = REFERENCE_STEPS[recipe.task](model, optimizers, **recipe.step_options)
    if compiled:
        # torch cannot differentiate the gradient of a compiled module again.
        for child in find_twin(recipe.model).examples.keys() - recipe.differentiated_twice:
            child_of(model, child).compile()
        for optimizer in optimizers.values():
            optimizer.step = torch.compile(optimizer.step)
    tensors = [
        {name: torch_tensor(array, device) for name, array in arrays.items()} for arrays in (batch, noise)
    ]
    return on_torch(step, *tensors, device=device)


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    recipes = list(RECIPES.values()) if flags.model == ("all",) else [find_recipe(n) for n in flags.model]
    if flags.device:
        jax.config.update("jax_platforms", flags.device)
    print(table_head(COLUMNS), flush=True)
    rows = []
    for recipe in recipes:
        rows.append(time_step(recipe, flags.batch_size or recipe.batch_size or 1, flags.rounds))
        print(table_line(rows[-1].cells), flush=True)
    if flags.json:
        write_rows(rows, flags.json)


if __name__ == "__main__":
    run_command(PROG, main)
