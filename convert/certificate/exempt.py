"""The leaves whose exact gradient is zero. The check of the optimizer steps does not compare them."""

import itertools

import torch

NORMS = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.instancenorm._InstanceNorm)


def exempt_leaves(model: torch.nn.Module) -> tuple[str, ...]:
    """The names of the bias of every layer whose output goes directly into a norm, and of its running mean.

    The norm subtracts the mean, so the bias has no effect on the loss. Its computed gradient is rounding
    noise. Adam divides this noise by its magnitude, so both frameworks change the bias, and with it the
    norm's running mean, in random directions. The pairs are found in torch's Sequentials, in which the output
    of every module is the input of the next one.
    """
    names = []
    state = model.state_dict().keys()
    for path, sequence in model.named_modules():
        if not isinstance(sequence, torch.nn.Sequential):
            continue
        children = list(sequence.named_children())
        for (name, _), (next_name, norm) in itertools.pairwise(children):
            prefix = f"{path}." if path else ""
            if isinstance(norm, NORMS) and f"{prefix}{name}.bias" in state:
                names += [f"{prefix}{name}.bias", f"{prefix}{next_name}.running_mean"]
    return tuple(name for name in names if name in state)
