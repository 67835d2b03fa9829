"""One training step of a model against its PyTorch twin: `python -m benchmarks.train_step --model dcgan`.

The same work on both sides: forward, backward and optimizer step on one batch with given noise, in
float32, from the same weights, with the optimizers of the model's recipe. torch runs eagerly and
compiled (its modules and its optimizers' steps); the last column is the better of the two over
ours: above 1, JAX is faster. Everything runs in one process, interleaved.
"""

import dataclasses
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import torch_models
from benchmarks.timing import Timing, interleaved
from convert import to_torch
from convert.compare import to_torch_input
from convert.lockstep import build_torch_optimizers, child_of, torch_step_options
from convert.twins import find_twin
from torch_models.steps import STEPS
from train.backend import compiler_options
from train.commands import parse_flags, run_command
from train.recipes import RECIPES, find_recipe
from train.state import build_model
from train.tasks import build_task

PROG = "python -m benchmarks.train_step"


@dataclass(frozen=True)
class Flags:
    """Time the training step of one model, or of all, against torch eager and torch.compile."""

    model: str
    """Name of the model, or "all"."""
    batch_size: int | None = None
    """Examples a step; the recipe's where not given."""
    rounds: int = 30
    """Interleaved rounds; each calls every contender once."""
    device: str | None = None
    """cpu, cuda ...; JAX's default where not given."""
    json: Path | None = None
    """Also write the table to this file."""


@dataclass(frozen=True)
class Row:
    """Milliseconds of one step."""

    model: str
    batch_size: int
    device: str
    flax: Timing
    eager: Timing
    compiled: Timing

    @property
    def ratio(self) -> float:
        return min(self.eager.median, self.compiled.median) / self.flax.median


def time_model(model: str, batch_size: int | None, rounds: int, torch_device: str) -> Row:
    """Builds the three contenders from the same weights and times them."""
    recipe = find_recipe(model)
    batch_size = batch_size or recipe.batch_size
    flax_model = build_model(recipe)
    rng = np.random.default_rng(0)
    examples = find_twin(model).batch
    batch = {name: _float32(example.draw(rng, batch_size)) for name, example in examples.items()}
    task = build_task(recipe, flax_model)
    noise = {name: np.asarray(value) for name, value in task.draw(jax.random.key(0), batch_size).items()}
    contenders = {
        "flax": _flax_step(task, batch, noise),
        "eager": _torch_step(recipe, flax_model, batch, noise, torch_device, compiled=False),
        "compiled": _torch_step(recipe, flax_model, batch, noise, torch_device, compiled=True),
    }
    return Row(model, batch_size, _device_name(), **interleaved(contenders, rounds=rounds))


def _flax_step(task: Any, batch: dict, noise: dict) -> Callable[[], object]:
    step = jax.jit(task.step, donate_argnums=0, compiler_options=compiler_options())
    state = jax.tree.map(jnp.copy, task.state())
    on_device = jax.tree.map(jnp.asarray, (batch, noise))

    def call() -> None:
        nonlocal state
        state, losses = step(state, *on_device)
        jax.block_until_ready((state, losses))

    return call


def _torch_step(recipe, flax_model, batch: dict, noise: dict, device: str, *, compiled: bool):
    model = to_torch(flax_model, torch_models.MODELS[recipe.model](**recipe.options)).to(device)
    optimizers = build_torch_optimizers(recipe, model)
    if compiled:
        for child in find_twin(recipe.model).examples:
            child_of(model, child).compile()
        for optimizer in optimizers.values():
            optimizer.step = torch.compile(optimizer.step)
    step = STEPS[recipe.task](model, optimizers, **torch_step_options(recipe))
    tensors = [
        {name: to_torch_input(a).to(device) for name, a in arrays.items()} for arrays in (batch, noise)
    ]

    def call() -> None:
        step(*tensors)
        if device != "cpu":
            torch.cuda.synchronize()

    return call


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| model | batch | device | Flax ms | torch eager ms | torch.compile ms | best torch / Flax |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.model} | {r.batch_size} | {r.device} | {r.flax} | {r.eager} | {r.compiled} | {r.ratio:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    models = list(RECIPES) if flags.model == "all" else [find_recipe(flags.model).model]
    if flags.device:
        jax.config.update("jax_platforms", flags.device)
    torch_device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    rows = []
    for model in models:
        rows.append(time_model(model, flags.batch_size, flags.rounds, torch_device))
        print(table(rows) if len(rows) == 1 else table(rows).splitlines()[-1], flush=True)
    if flags.json:
        flags.json.write_text(
            json.dumps([{**dataclasses.asdict(r), "ratio": r.ratio} for r in rows], indent=2) + "\n"
        )


def _float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array


def _device_name() -> str:
    device = jax.devices()[0]
    return (
        f"{torch.get_num_threads()} {platform.machine()} threads"
        if device.platform == "cpu"
        else device.device_kind
    )


if __name__ == "__main__":
    run_command(PROG, main)
