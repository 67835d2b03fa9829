"""How tests compile: without XLA's optimisation, where the programs are tiny."""

from typing import Any

import pytest

from train.backend import compiler_options, known_options

# For tiny modules compilation takes most of the time, so XLA is asked not to optimise.
QUICK = known_options(
    {
        "xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1,
    }
)  # fmt: skip


def quicken(patch: pytest.MonkeyPatch) -> None:
    """Comparisons, certificates and training steps compile without XLA's optimisation."""
    shared: Any = compiler_options()  # the same dict for all who ask
    assert shared is compiler_options()
    for name, value in QUICK.items():
        patch.setitem(shared, name, value)
