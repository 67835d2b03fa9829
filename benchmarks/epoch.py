"""Compares whole epochs with a torch loop: `python -m benchmarks.epoch --model ngram_lm`.

It is for models whose steps are so small that the loop takes most of the time. The Flax loop is that of
`train.run`: one dispatch takes as many steps as the recipe's interval of metrics allows, and gathers its
batches on the device. The torch loop calls the reference step, eagerly, on the batches of the first epoch.
These are tensors already. In the first epoch both loops take the same batches in the same order; in later
epochs the torch loop repeats these batches. The torch loop runs once with all of torch's
threads and once with one, which is faster for small steps. All run in float32, from the same weights, in one
process, interleaved. The last column is Flax's rate divided by the higher of torch's two rates: above 1,
Flax is faster.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import torch

import torch_models
from benchmarks.common import device_name, table_head, table_line, torch_device, torch_tensor, write_rows
from benchmarks.timing import Timing, interleaved
from convert import to_torch
from convert.optimizers import build_torch_optimizers
from torch_models.steps import REFERENCE_STEPS
from train.command_line import parse_flags, run_command
from train.data.feeds import Feed, make_feed
from train.data.random_keys import AUGMENT, rng_key
from train.engine.cadence import Cadence
from train.engine.steps import fast_steps_per_call, jit_steps
from train.lookup import look_up
from train.recipes import Recipe, find_recipe, load_recipe_data
from train.tasks import build_task
from train.tasks.models import build_model, fit_options

PROG = "python -m benchmarks.epoch"
MODELS = (
    "linear_regression", "logistic_regression", "polynomial_regression", "fashion_mlp", "mlp_bn",
    "lstm_regressor", "rnn_regressor", "gru_regressor", "ngram_lm", "lstm_tagger",
)  # fmt: skip
COLUMNS = (
    "model", "steps per epoch", "steps per dispatch", "Flax epochs/s", "torch epochs/s", "torch, 1 thread",
    "Flax / best torch",
)  # fmt: skip


Steps = Callable[[], dict[str, Any]]
"""A function that takes some steps and returns their losses, {name: (steps,)}."""


@dataclass(frozen=True)
class Flags:
    """Compare whole epochs of the training loop of one model, or of all, with a torch loop."""

    model: str
    """Name of the model, or "all"."""
    rounds: int = 10
    """Rounds, in each of which every contender takes the steps of one dispatch once."""
    data_dir: Path = Path("data")
    """Folder of the data sets."""
    json: Path | None = None
    """Also write the table to this file."""


@dataclass(frozen=True)
class Row:
    """The times of `steps` steps, those of one dispatch. steps_per_pass: the number of steps of an epoch."""

    model: str
    device: str
    steps_per_pass: int
    steps: int
    flax: Timing
    torch: Timing
    torch_one_thread: Timing

    @property
    def ratio(self) -> float:
        """Flax's rate divided by the higher of torch's rates."""
        return min(self.torch.median, self.torch_one_thread.median) / self.flax.median

    @property
    def cells(self) -> tuple[Any, ...]:
        """The row of the table."""
        epochs = self.steps / self.steps_per_pass
        timings = (self.flax, self.torch, self.torch_one_thread)
        rates = (f"{epochs / timing.median * 1e3:.4g}" for timing in timings)
        return self.model, self.steps_per_pass, self.steps, *rates, self.ratio


def time_epoch(recipe: Recipe, data_dir: Path, rounds: int) -> Row:
    """The times of one dispatch of the Flax loop and of the same steps in torch."""
    flax_steps, torch_steps, feed, steps = contenders(recipe, data_dir)
    timings = interleaved(
        {
            "flax": flax_steps,
            "torch": torch_steps,
            "torch_one_thread": lambda: _on_one_thread(torch_steps),
        },
        rounds=rounds,
        calls=1,
    )
    return Row(recipe.model, device_name(), feed.steps_per_epoch, steps, **timings)


def contenders(recipe: Recipe, data_dir: Path) -> tuple[Steps, Steps, Feed, int]:
    """(the steps of the Flax loop, those of the torch loop, the feed, the number of steps of a call).

    A call takes the next steps and returns their losses, {name: (steps,)}. Flax takes the batches of the
    current epoch; torch takes those of the first epoch in every epoch.
    """
    data = load_recipe_data(recipe, data_dir)
    recipe = dataclasses.replace(fit_options(recipe, data.meta), stop_below=None)
    feed = make_feed(
        data, batch_size=recipe.batch_size, shuffle=recipe.shuffle, seed=recipe.seed, take=recipe.take
    )
    model = build_model(recipe)
    task = build_task(recipe, model)
    longest = recipe.steps_per_call or fast_steps_per_call(model)
    steps = min(longest, Cadence.of(recipe, feed).until_next(0))
    twin = to_torch(model, torch_models.MODELS[recipe.model](**recipe.options)).to(torch_device())
    return _flax_steps(task, feed, steps), _torch_steps(recipe, twin, task, feed, steps), feed, steps


def _flax_steps(task: Any, feed: Feed, steps: int) -> Steps:
    call, state, first = jit_steps(task, feed, steps), jax.tree.map(jnp.copy, task.initial_state()), 0

    def dispatch() -> dict[str, Any]:
        nonlocal state, first
        state, losses = call(state, feed.inputs(first, steps), jnp.asarray(steps, jnp.int32))
        first += steps
        return jax.block_until_ready(losses)

    return dispatch


def _torch_steps(recipe: Recipe, model: torch.nn.Module, task: Any, feed: Feed, steps: int) -> Steps:
    device = torch_device()
    step = REFERENCE_STEPS[recipe.task](model, build_torch_optimizers(recipe, model), **recipe.step_options)
    batches = []
    for number in range(min(steps, feed.steps_per_epoch)):
        augment = jax.random.fold_in(rng_key(recipe.seed, AUGMENT), number)
        batch = jax.device_get(task.prepare(feed.batch(feed.inputs(number, 1), number), augment))
        tensors = {name: torch_tensor(array, device) for name, array in batch.items()}
        batches.append({name: t if t.is_floating_point() else t.long() for name, t in tensors.items()})

    def loop() -> dict[str, Any]:
        losses: list[dict[str, torch.Tensor]] = []
        for number in range(steps):
            losses.append(step(batches[number % len(batches)], {}))
        return {name: torch.stack([values[name] for values in losses]).cpu() for name in losses[0]}

    return loop


def _on_one_thread(call: Callable[[], object]) -> object:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return call()
    finally:
        torch.set_num_threads(threads)


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    names = MODELS if flags.model == "all" else (find_recipe(flags.model).model,)
    for name in names:
        look_up(dict.fromkeys(MODELS), name, "model with many steps in a dispatch")
    print(f"{device_name()}, rounds: {flags.rounds}\n\n{table_head(COLUMNS)}", flush=True)
    rows = []
    for name in names:
        rows.append(time_epoch(find_recipe(name), flags.data_dir, flags.rounds))
        print(table_line(rows[-1].cells), flush=True)
    if flags.json:
        write_rows(rows, flags.json)


if __name__ == "__main__":
    run_command(PROG, main)
