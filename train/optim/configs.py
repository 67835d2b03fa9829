"""torch's optimizers as plain values: the class, its arguments and its defaults. Nothing here imports jax.

No other module defines a default of an optimizer. `train.optim.to_optax` converts a config to an optax
transformation. `getattr(torch.optim, type(config).__name__)(parameters, **asdict(config))` builds the torch
optimizer of a config.
"""

from dataclasses import dataclass

OPTIMIZERS: dict[str, type["Optimizer"]] = {}
"""{name of the class, which is torch's name: config class}."""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """The arguments that every optimizer has.

    Errors: ValueError for an argument that torch refuses.
    """

    lr: float = 1e-3
    """Learning rate."""
    weight_decay: float = 0.0
    """weight_decay times the parameter is added to its gradient. AdamW instead subtracts lr times
    weight_decay times the parameter from the parameter."""
    maximize: bool = False
    """Maximise the loss instead of minimising it."""

    def __init_subclass__(cls) -> None:
        OPTIMIZERS[cls.__name__] = cls

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float | int) and not value >= 0:  # this form refuses NaN too
                raise ValueError(f"{name} must not be negative, got {value}")


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """torch.optim.SGD's arguments, with its defaults."""

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "nesterov needs a momentum and no dampening, "
                f"got momentum={self.momentum}, dampening={self.dampening}"
            )


@dataclass(frozen=True, kw_only=True)
class Adagrad(Optimizer):
    """torch.optim.Adagrad's arguments, with its defaults."""

    lr: float = 1e-2
    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """torch.optim.RMSprop's arguments, with its defaults."""

    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """torch.optim.Adam's arguments, with its defaults."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and less than 1, got {self.betas}")


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """torch.optim.AdamW's arguments, with its defaults."""

    weight_decay: float = 1e-2
