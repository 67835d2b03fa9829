"""What the engine asks of XLA: the options every training step is compiled with."""

from functools import cache

import jax

# XLA's CPU backend hands convolutions to its YNN library by default, which takes 2 to 4 times as long as
# Eigen at most training shapes (12x12x32 -> 64 k5, batch 128, 2 AVX-512 cores: forward 13 ms against 5,
# weight gradient 25 against 7). No fusion type at all means Eigen.
_CPU = {"xla_cpu_experimental_ynn_fusion_type": ""}


@cache
def compiler_options() -> dict[str, str]:
    """The options for this process's backend; none where this jaxlib does not know them."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=_CPU)()
    except Exception:  # the option is experimental: another version may have dropped it
        return {}
    return _CPU
