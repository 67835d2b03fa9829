"""What the modules of a model put out during a call, in the order of the calls.

In Flax the instances of one model get a subclass that reports its results, so no class of anyone is patched.
`nnx.capture` serves less well: it wraps the methods of the classes themselves, misses a `__call__` that is
inherited, fails for an `nnx.List` that is called itself, and loses the order of the calls (flax 0.12.8).
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from flax import nnx

from convert.weights import dotted


def report_calls(
    model: nnx.Module, report: Callable[[str, Any], None], *, method: str = "__call__",
    kind: type[nnx.Module] = nnx.Module,
) -> None:  # fmt: skip
    """Makes the modules of a model report every result of a method: report(dotted path, result).

    model: is changed; clone or merge one for the purpose. kind: the modules that report.
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


def record_outputs(model: nnx.Module) -> dict[str, Any]:
    """A dict that calls of the model fill: {dotted path: output} of every module, the root is ""."""
    outputs: dict[str, Any] = {}
    report_calls(model, outputs.__setitem__)
    return outputs


@contextlib.contextmanager
def recorded_outputs(model: torch.nn.Module) -> Iterator[dict[str, Any]]:
    """A context in which calls of a torch model fill the dict {dotted path: output}."""
    outputs: dict[str, Any] = {}

    def hook(name: str) -> Callable[..., None]:
        return lambda module, args, output: outputs.__setitem__(name, output)

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
