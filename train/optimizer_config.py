"""torch's optimizers as plain values: what a recipe says of one. Nothing here imports jax."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SGD:
    """torch.optim.SGD's arguments, with its defaults."""

    lr: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False


@dataclass(frozen=True, kw_only=True)
class Adagrad:
    """torch.optim.Adagrad's arguments, with its defaults."""

    lr: float = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """torch.optim.RMSprop's arguments, with its defaults."""

    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False


@dataclass(frozen=True, kw_only=True)
class Adam:
    """torch.optim.Adam's arguments, with its defaults."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """torch.optim.AdamW's arguments, with its defaults."""

    weight_decay: float = 1e-2


Optimizer = SGD | Adagrad | RMSprop | Adam | AdamW
OPTIMIZER_CLASSES = {cls.__name__: cls for cls in (SGD, Adagrad, RMSprop, Adam, AdamW)}
