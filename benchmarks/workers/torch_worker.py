"""The torch side: `python -m benchmarks.workers.torch_worker`."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import torch

import torch_models
from benchmarks.common import on_torch, torch_device, torch_tensor
from benchmarks.workers.inputs import Subject
from benchmarks.workers.process import peak_mebibytes, resident_mebibytes, run_milliseconds, serve
from convert.optimizers import build_torch_optimizers
from convert.twins import child_of
from torch_models.steps import REFERENCE_STEPS

calls: dict[str, Callable[[], object]] = {}


def prepare(
    model: str, options: Mapping[str, Any] | None, batch_size: int, forward: Sequence[int], compiled: bool
) -> dict[str, Any]:
    """Builds an eager step of `batch_size` examples, a compiled one, and eager forward passes."""
    subject = Subject.of(model, options, batch_size)
    before = resident_mebibytes()
    calls["eager"] = training_step(subject, compiled=False)
    calls["eager"]()
    memory = peak_mebibytes(calls["eager"]) - before
    for size in forward:
        calls[f"forward {size}"] = forward_pass(subject, size)
    if compiled:
        calls["compiled"] = training_step(subject, compiled=True)
        calls["compiled"]()
    return {"torch": torch.__version__, "memory": memory}


def training_step(subject: Subject, *, compiled: bool) -> Callable[[], object]:
    """One call of the reference step."""
    recipe, device = subject.recipe, torch_device()
    model = torch_models.MODELS[recipe.model](**recipe.options).to(device)
    optimizers = build_torch_optimizers(recipe, model)
    step = REFERENCE_STEPS[recipe.task](model, optimizers, **recipe.step_options)
    if compiled:
        # torch cannot differentiate the gradient of a compiled module again.
        for child in subject.twin.examples.keys() - recipe.differentiated_twice:
            child_of(model, child).compile()
        for optimizer in optimizers.values():
            optimizer.step = torch.compile(optimizer.step)
    inputs = cycle(
        [{name: torch_tensor(array, device) for name, array in arrays.items()} for arrays in both]
        for both in subject.steps
    )
    return on_torch(lambda: step(*next(inputs)), device=device)


def forward_pass(subject: Subject, batch_size: int) -> Callable[[], object]:
    """The exported children in evaluation mode."""
    recipe, device = subject.recipe, torch_device()
    model = torch_models.MODELS[recipe.model](**recipe.options).to(device).eval()
    children = [
        (child_of(model, child), [torch_tensor(array, device) for array in subject.inputs(child, batch_size)])
        for child in subject.twin.exported
    ]

    def call() -> None:
        with torch.inference_mode():
            for child, inputs in children:
                child(*inputs)

    return on_torch(call, device=device)


if __name__ == "__main__":
    serve({"prepare": prepare, "time": lambda name: run_milliseconds(calls[name])})
