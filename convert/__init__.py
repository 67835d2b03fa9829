"""The bridge: weights and optimizer state across, certificates, and deployable exports.

    from convert import to_torch, to_flax, verify, export_torchscript

`python -m convert --help` has the same as commands.
"""

_HOME = {
    "TWINS": "convert.twins",
    "to_torch": "convert.weights",
    "to_flax": "convert.weights",
    "optimizer_to_torch": "convert.optimizers",
    "optimizer_to_flax": "convert.optimizers",
    "verify": "convert.certificate",
    "export_torchscript": "convert.export",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
