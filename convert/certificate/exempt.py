"""Leaves whose true gradient is zero, and which the check of the optimizer steps therefore leaves out."""

import torch

NORMS = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.instancenorm._InstanceNorm)


def exempt_leaves(model: torch.nn.Module) -> tuple[str, ...]:
    """The names of every bias that feeds a norm directly, and of the norm's running mean.

    The norm subtracts the mean, so a bias before it has no effect. Its gradient is rounding noise, which Adam
    divides by itself; the running mean follows the bias. The pairs are found in torch Sequentials, where a
    module feeds the next one.
    """
    names = []
    state = model.state_dict().keys()
    for path, sequence in model.named_modules():
        if not isinstance(sequence, torch.nn.Sequential):
            continue
        children = list(sequence.named_children())
        for (name, _), (next_name, norm) in zip(children, children[1:], strict=False):
            prefix = f"{path}." if path else ""
            if isinstance(norm, NORMS) and f"{prefix}{name}.bias" in state:
                names += [f"{prefix}{name}.bias", f"{prefix}{next_name}.running_mean"]
    return tuple(name for name in names if name in state)
