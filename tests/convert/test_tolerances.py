"""The difference of two arrays, and the tolerances."""

import math

import numpy as np
import pytest

from convert.certificate.tolerances import TOLERANCES, difference


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([0.0, 0.25], [0.0, 0.0], 0.25),  # absolute where the values are small
        ([100.0, -51.0], [100.0, -50.0], 0.01),  # relative to the largest value where they are large
        ([], [], 0.0),
        ([1.0, 2.0], [1.0], math.inf),
        ([math.nan], [0.0], math.inf),
        ([0.0], [-math.inf], math.inf),
        ([math.inf, math.nan, -math.inf], [math.inf, math.nan, -math.inf], math.inf),
        ([1e308], [-1e308], math.inf),
    ],
)
def test_difference(a, b, expected):
    """Values that are not finite differ, also from themselves: no comparison can vouch for them."""
    assert difference(np.array(a), np.array(b)) == pytest.approx(expected, abs=0, rel=1e-12)


def test_differences_are_taken_in_float64():
    one, next_one = np.array([1, 1 + 2**-23], np.float32)[:, None]
    assert difference(one, next_one) == pytest.approx(2**-23 / (1 + 2**-23))
    assert difference(np.array(3), np.array(5)) == 2 / 5


def test_the_tolerances_are_those_of_the_design():
    """docs: the certificate of a released model was given by these."""
    assert TOLERANCES["float64"] == (1e-12, 1e-11, 1e-10, 1e-10, 1e-12)
    assert TOLERANCES["float32"] == (1e-5, 1e-4, None, 1e-3, 1e-4)
