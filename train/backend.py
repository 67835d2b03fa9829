"""The compile options that training and certificates give to XLA, and the compilation cache."""

import os
import warnings
from functools import cache
from pathlib import Path

import jax

Options = dict[str, str | bool | int]

# The CPU's compile options. XLA's default library for convolutions, YNN, takes 2 to 4 times as long as Eigen
# at most training shapes (12x12x32 -> 64 k5, batch 128, 2 AVX-512 cores: forward 13 ms against 5, weight
# gradient 25 against 7). An empty list of fusion types selects Eigen. oneDNN is faster still; XLA can call
# it from jaxlib 0.11 on, for float32 and bfloat16. jaxlib 0.10 ignores that option.
_CPU_OPTIONS: Options = {
    "xla_cpu_experimental_ynn_fusion_type": "",
    "xla_cpu_experimental_onednn_custom_call": True,
}
# Options that shorten compilation to a half or a third; the programs are up to a fifth slower.
_SHORT_OPTIONS: Options = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}


@cache
def compiler_options() -> Options:
    """The compile options for this process's backend: those that this jaxlib knows."""
    if jax.default_backend() != "cpu":
        return {}
    return known_options(_CPU_OPTIONS)


@cache
def short_compiler_options() -> Options:
    """The compile options for a program that runs once or a few times, and that takes long to compile."""
    if jax.default_backend() != "cpu":
        return {}
    return {**compiler_options(), **known_options(_SHORT_OPTIONS)}


def known_options(options: Options) -> Options:
    """Those of these options that this jaxlib knows. They are experimental, so a version may drop one."""
    return {name: value for name, value in options.items() if _is_known({name: value})}


def _is_known(options: Options) -> bool:
    """Whether XLA compiles with these options."""
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except Exception:
        return False
    return True


def use_compilation_cache() -> None:
    """Stores compiled programs, so that the next start can reuse them.

    The folder is JAX_COMPILATION_CACHE_DIR, or else a folder in the user's cache folder.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "flax-torch-twins" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    # jaxlib 0.12 cannot serialise a program that calls oneDNN. It is compiled at every start.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry.*bad_alloc")
