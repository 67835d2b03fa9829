"""A machine that only trains needs no torch; what needs it says so."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.jax_only

_REFUSE_TORCH = "import sys; sys.modules['torch'] = None; "


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The finished process of a script that cannot import torch."""
    command = [sys.executable, "-c", _REFUSE_TORCH + script, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments", [("verify", "--model", "lenet"), ("to-torch", "runs/x"), ("summary", "--model", "lenet")]
)
def test_a_conversion_says_what_to_install(arguments):
    script = "import runpy; runpy.run_module('convert', run_name='__main__')"
    result = run(script, *arguments)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.endswith("this needs PyTorch, which is not installed: pip install -c constraints.txt torch")


def test_training_imports_no_torch():
    script = (
        "import train; from train.engine import loop; print('torch' in sys.modules and sys.modules['torch'])"
    )
    assert run(script).stdout == "None\n"
