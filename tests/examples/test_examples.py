"""The programs in examples/ run, and do what they say."""

import re
import runpy
from pathlib import Path

import pytest

from convert.certificate.tolerances import TOLERANCES

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.standard_promotion("an example runs under jax's own settings")


def run_example(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the program prints, run as a user runs it."""
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def number_after(words: str, text: str) -> float:
    """The first number after these words."""
    found = re.search(rf"{re.escape(words)}\s*([0-9.e+-]+)", text)
    assert found, f"{words!r} is not in the output:\n{text}"
    return float(found[1])


def test_a_model_of_ones_own_learns_and_converts(capsys):
    output = run_example("own_model.py", capsys)
    assert number_after("test accuracy", output[output.index("step 460/460") :]) > 0.9
    assert number_after("largest difference of the outputs:", output) < TOLERANCES["float32"].forward
