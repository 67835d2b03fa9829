"""Compares models with PyTorch, step by step: `python -m benchmarks.train_step --model dcgan`.

Both frameworks do the same work in float32: a forward pass, a backward pass and an optimizer step on one
batch, with the optimizers of the model's recipe; and a forward pass in evaluation mode on 1 and on 64
examples. torch takes its steps eagerly and compiled (its modules and the steps of its optimizers).

Each framework has its own process, new for every model, and they are asked in turns. In one process the idle
threads of one framework would disturb the other. `--python PATH` adds another Python with another jax.
The ratio is torch's shorter time divided by Flax's: above 1, Flax is faster. The memory is what a step adds
at its peak to a process that has imported its framework and drawn its inputs: weights, optimizer state,
activations and work space.
"""

import json
import os
import platform
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tables import markdown
from benchmarks.timing import timing_of
from benchmarks.workers.process import Worker
from convert.pages import write_section
from train.command_line import parse_flags, run_command
from train.engine.run_folders import write_json
from train.recipes import RECIPES, find_recipe

PROG = "python -m benchmarks.train_step"
FORWARD = (1, 64)


@dataclass(frozen=True)
class Flags:
    """Compare the training step and the forward pass of models with torch."""

    model: tuple[str, ...]
    """Names of models, or "all"."""
    batch_size: int | None = None
    """Examples per step; by default the recipe's."""
    rounds: int = 5
    """Rounds, in each of which every contender has one run of a third of a second. The tables have the median
    of the runs' medians, and the quartiles."""
    python: tuple[Path, ...] = ()
    """Further Python interpreters in which Flax is timed too, such as one with a newer jax."""
    compiled: bool = True
    """Also time torch.compile."""
    json: Path | None = None
    """Keep the results in this file; results of other models in it stay."""
    write: Path | None = None
    """Write the tables into this page, between its lines <!-- table --> and <!-- end -->."""


def measure(
    model: str, batch_size: int, *, rounds: int, pythons: tuple[Path | str, ...] = (sys.executable,),
    options: dict[str, Any] | None = None, compiled: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """The results of one model, as JSON values.

    pythons: the interpreters in which Flax is timed. options: of the model; by default the recipe's.
    {"model", "batch", "device", "torch": its version, "memory": {contender: MiB}, "milliseconds": {what:
    {contender: [median, low, high]}}}. The contenders of Flax are named by the version of jax.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    arguments = {"model": model, "options": options, "batch_size": batch_size, "forward": FORWARD}
    with ExitStack() as stack:
        flax: dict[str, Worker] = {}
        device = ""
        memory: dict[str, float] = {}
        for python in pythons:
            worker = stack.enter_context(Worker(python, "flax_worker"))
            ready = worker.ask("prepare", **arguments)
            device = ready["device"]
            flax[f"jax {ready['jax']}"] = worker
            memory[f"jax {ready['jax']}"] = ready["memory"]
        torch = stack.enter_context(Worker(sys.executable, "torch_worker"))
        reference = torch.ask("prepare", compiled=compiled, **arguments)
        memory["torch"] = reference["memory"]
        turns = [("step", name, worker, "step") for name, worker in flax.items()]
        turns += [("step", "torch eager", torch, "eager")]
        turns += [("step", "torch.compile", torch, "compiled")] * compiled
        for size in FORWARD:
            what = f"forward {size}"
            turns += [(what, name, worker, what) for name, worker in [*flax.items(), ("torch", torch)]]
        samples: dict[tuple[str, str], list[float]] = {}
        for _ in range(rounds):
            for what, name, worker, call in turns:
                samples.setdefault((what, name), []).append(worker.ask("time", name=call))
    milliseconds: dict[str, Any] = {}
    for (what, name), values in samples.items():
        milliseconds.setdefault(what, {})[name] = timing_of(values)
    return {
        "model": model, "batch": batch_size, "device": device_name(device),
        "torch": reference["torch"], "memory": memory, "milliseconds": milliseconds,
    }  # fmt: skip


def device_name(kind: str) -> str:
    """What the tables call the device, such as "2 x86_64 threads"."""
    return f"{os.cpu_count()} {platform.machine()} threads" if kind == "cpu" else kind


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    recipes = list(RECIPES.values()) if flags.model == ("all",) else [find_recipe(n) for n in flags.model]
    kept = json.loads(flags.json.read_text()) if flags.json and flags.json.is_file() else []
    results = {one["model"]: one for one in kept}
    for recipe in recipes:
        results[recipe.model] = measure(
            recipe.model, flags.batch_size or recipe.batch_size or 1, rounds=flags.rounds,
            pythons=(sys.executable, *flags.python), compiled=flags.compiled,
        )  # fmt: skip
        ordered = [results[name] for name in RECIPES if name in results]
        if flags.json:
            write_json(flags.json, ordered)
        if flags.write:
            write_section(flags.write, markdown(ordered))
        print(f"{recipe.model}: {results[recipe.model]['milliseconds']['step']}", flush=True)
    print(markdown([results[recipe.model] for recipe in recipes]))


if __name__ == "__main__":
    run_command(PROG, main)
