"""The linear decay of a quantity towards the end of a run."""


def linear_decay(step: int, steps: int | None, after: float = 0.0) -> float:
    """The factor at a step: 1 up to the fraction `after` of `steps`, then linearly down to 0.

    Without steps the factor is 1.
    """
    if steps is None or after == 1:
        return 1.0
    return max(0.0, min(1.0, (steps - step) / (steps * (1 - after))))
