"""The outputs of all modules of a model during a call, in the order of the calls.

In Flax the modules of one model get a subclass that reports its results, so no other model is affected.
`nnx.capture` (flax 0.12.8) is not enough: it patches the classes, does not see an inherited `__call__`, fails
for a called `nnx.List`, and loses the order of the calls.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from flax import nnx
from jax.extend.core import get_opaque_trace_state

from convert.weights import dotted


def report_calls(
    model: nnx.Module, report: Callable[[str, Any], None], *, method: str = "__call__",
    kind: type[nnx.Module] = nnx.Module,
) -> None:  # fmt: skip
    """Makes the modules of a model call report(dotted path, result) after every call of a method.

    model: is changed; clone or merge one for the purpose. kind: the class of the modules that report.
    """
    for path, module in nnx.iter_modules(model):
        if isinstance(module, kind) and callable(getattr(type(module), method, None)):
            module.__class__ = _reporting(type(module), method, dotted(path), report)


def _reporting(cls: type, method: str, path: str, report: Callable[[str, Any], None]) -> type:
    original = getattr(cls, method)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        report(path, result)
        return result

    return type(cls.__name__, (cls,), {method: call})


def record_flax_outputs(model: nnx.Module) -> dict[str, Any]:
    """A dict that calls of the model fill with {dotted path: output} of every module; the root is "".

    model: is changed; clone or merge one for the purpose. A module that is called inside lax.scan is left
    out, because its outputs are values of the scan's body.
    """
    outputs: dict[str, Any] = {}
    here = get_opaque_trace_state()

    def report(path: str, output: Any) -> None:
        if get_opaque_trace_state() == here:
            outputs[path] = output

    report_calls(model, report)
    return outputs


@contextlib.contextmanager
def recorded_torch_outputs(model: torch.nn.Module) -> Iterator[dict[str, Any]]:
    """A context with a dict that calls of a torch model fill with {dotted path: output} of every module."""
    outputs: dict[str, Any] = {}

    def hook(name: str) -> Callable[..., None]:
        return lambda module, args, output: outputs.__setitem__(name, output)

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
