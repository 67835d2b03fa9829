"""How a quantity of a run falls towards its end."""


def linear_decay(step: int, steps: int | None, after: float = 0.0) -> float:
    """What it is multiplied by at a step: 1, from the share `after` of `steps` on linearly down to 0."""
    if steps is None or after == 1:
        return 1.0
    return max(0.0, min(1.0, (steps - step) / (steps * (1 - after))))
