"""The Flax side: `python -m benchmarks.workers.flax_worker`. It needs no torch."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.workers.inputs import Subject
from benchmarks.workers.process import peak_mebibytes, resident_mebibytes, run_milliseconds, serve
from convert.twins import child_of
from train.backend import compiler_options

calls: dict[str, Callable[[], object]] = {}


def prepare(
    model: str, options: Mapping[str, Any] | None, batch_size: int, forward: Sequence[int]
) -> dict[str, Any]:
    """Compiles a training step of `batch_size` examples, and a forward pass for each size in `forward`."""
    subject = Subject.of(model, options, batch_size)
    before = resident_mebibytes()
    calls["step"] = training_step(subject)
    calls["step"]()
    memory = peak_mebibytes(calls["step"]) - before
    for size in forward:
        calls[f"forward {size}"] = forward_pass(subject, size)
    device = jax.devices()[0]
    return {"jax": jax.__version__, "device": device.device_kind, "memory": memory}


def training_step(subject: Subject) -> Callable[[], object]:
    """One optimizer step; the state is donated, as in training."""
    task = subject.task
    step = jax.jit(task.step, donate_argnums=0, compiler_options=compiler_options())
    state = jax.tree.map(jnp.copy, task.initial_state())
    inputs = cycle(jax.tree.map(jnp.asarray, subject.steps))

    def call() -> None:
        nonlocal state
        state, losses = step(state, *next(inputs))
        jax.block_until_ready((state, losses))

    return call


def forward_pass(subject: Subject, batch_size: int) -> Callable[[], object]:
    """The exported children in evaluation mode."""
    subject.model.eval()
    jitted = []
    for child in subject.twin.exported:
        graph, state = nnx.split(child_of(subject.model, child))
        variables = nnx.to_pure_dict(state)  # a dict passes into a call sooner than nnx's own containers

        def run(variables: Any, *inputs: jax.Array, graph: Any = graph) -> Any:
            merged: Any = nnx.merge(graph, variables)
            return merged(*inputs)

        inputs = [jnp.asarray(array) for array in subject.inputs(child, batch_size)]
        jitted.append((jax.jit(run, compiler_options=compiler_options()), variables, inputs))
    return lambda: jax.block_until_ready([run(variables, *inputs) for run, variables, inputs in jitted])


if __name__ == "__main__":
    serve({"prepare": prepare, "time": lambda name: run_milliseconds(calls[name])})
