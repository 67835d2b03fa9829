"""The classic networks in Flax (NNX), on NHWC arrays. Their twins are in `torch_models`.

`MODELS[name](**options, rngs=nnx.Rngs(0))` builds a model. The table is collected from the family files on
first use, so importing this package imports neither JAX nor Flax.
"""

from typing import Any

MODELS: dict[str, Any]
__all__ = ["MODELS"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name != "MODELS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib
    import pkgutil

    table: dict[str, Any] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.ispkg:
            table |= getattr(importlib.import_module(f"{__name__}.{module.name}"), "MODELS", {})
    globals()["MODELS"] = table
    return table
