"""The compile options that the engine gives to XLA, and the compilation cache."""

import os
from functools import cache
from pathlib import Path

import jax

# XLA's CPU backend by default gives convolutions to its YNN library, which takes 2 to 4 times as long as
# Eigen at most training shapes (12x12x32 -> 64 k5, batch 128, 2 AVX-512 cores: forward 13 ms against 5,
# weight gradient 25 against 7). An empty list of fusion types selects Eigen.
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


@cache
def compiler_options() -> dict[str, str]:
    """The compile options for this process's backend; {} if this jaxlib does not know them."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=_CPU_OPTIONS)()
    except Exception:  # the option is experimental: another version may have dropped it
        return {}
    return _CPU_OPTIONS


def use_compilation_cache() -> None:
    """Stores compiled programs, so that the next start can reuse them.

    The folder is JAX_COMPILATION_CACHE_DIR, or else a folder in the user's cache folder.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "flax-torch-twins" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
