"""torch's initialisers: what `torch.nn.init` and the layers' own `reset_parameters` draw.

An initialiser is `init(key, shape, dtype) -> array`, as in `jax.nn.initializers`.
"""

import math

import jax


def uniform(bound: float):
    """U(-bound, bound): with bound = 1/sqrt(fan_in), torch's default for weights and biases.

    torch writes it as `kaiming_uniform_(a=sqrt(5))`, which is the same distribution.
    """

    def init(key, shape, dtype):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def fan_in_uniform(fan_in: int):
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of Linear, Conv and ConvTranspose."""
    return uniform(1 / math.sqrt(fan_in) if fan_in > 0 else 0.0)
