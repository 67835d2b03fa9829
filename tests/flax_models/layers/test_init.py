"""Initialisers beside torch.nn.init: fans, gains, and the drawn distributions' bounds and moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from flax_models.layers import init
from tests.compilation import QUICK

KEY = jax.random.key(0)
# our shape, torch's shape: Linear, Conv2d, grouped Conv2d, ConvTranspose2d, grouped ConvTranspose2d
SHAPES = [
    ((60, 80), (80, 60)),
    ((3, 2, 20, 50), (50, 20, 3, 2)),
    ((3, 3, 8, 64), (64, 8, 3, 3)),  # groups do not show: both sides divide the second axis
    ((4, 4, 30, 16), (16, 30, 4, 4)),
    ((5, 3, 10, 32), (32, 10, 5, 3)),
]
DISTRIBUTIONS = [
    ("normal", (0.5, 0.2)), ("normal", ()), ("uniform", (-1.0, 3.0)), ("uniform", ()), ("constant", (0.3,)),
    ("trunc_normal", (0.0, 1.0)), ("trunc_normal", (0.0, 0.01)), ("trunc_normal", (1.0, 2.0, -1.0, 1.5)),
    ("xavier_uniform", ()), ("xavier_uniform", (5 / 3,)), ("xavier_normal", ()), ("xavier_normal", (2.0,)),
    *[
        (f"kaiming_{shape}", args)
        for shape in ("uniform", "normal")
        for args in ((), (0.2,), (0.0, "fan_out", "relu"), (0, "fan_in", "tanh"), (0, "fan_out", "linear"))
    ],
]  # fmt: skip


def draw(initialiser, shape, dtype=jnp.float32):
    return jax.jit(lambda key: initialiser(key, shape, dtype), compiler_options=QUICK)(KEY)


@pytest.mark.parametrize(("name", "args"), DISTRIBUTIONS)
def test_draws_torchs_distribution(name, args):
    """Same mean, deviation and extremes, within what 6,000 draws of each can show."""
    shapes = SHAPES[1]
    ours = np.asarray(draw(getattr(init, name)(*args), shapes[0]), np.float64)
    torch.manual_seed(0)
    theirs = getattr(torch.nn.init, f"{name}_")(torch.empty(shapes[1]), *args).double().numpy()
    assert ours.shape == shapes[0] and np.isfinite(ours).all()
    spread = theirs.std()
    assert abs(ours.mean() - theirs.mean()) <= 0.1 * spread
    assert abs(ours.std() - spread) <= 0.05 * spread
    reach = 0.02 if "uniform" in name or len(args) == 4 else 0.35
    for extreme in (np.min, np.max):
        assert abs(extreme(ours) - extreme(theirs)) <= reach * max(abs(extreme(theirs)), spread) + 1e-9


@pytest.mark.parametrize("shapes", SHAPES)
def test_fans_are_torchs(shapes):
    assert init.fans(shapes[0]) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shapes[1]))


@pytest.mark.parametrize(
    ("name", "param"),
    [("linear", None), ("conv2d", None), ("conv_transpose2d", None), ("sigmoid", None), ("tanh", None),
     ("relu", None), ("leaky_relu", None), ("leaky_relu", 0.2), ("leaky_relu", 0), ("selu", None)],
)  # fmt: skip
def test_gains_are_torchs(name, param):
    assert init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


def test_truncation_is_at_absolute_bounds():
    values = draw(init.trunc_normal(0.0, 1.0, -0.5, 0.25), (4000,))
    assert -0.5 <= values.min() < -0.49 and 0.24 < values.max() <= 0.25
    assert np.all(np.asarray(init.trunc_normal(9.0, 0.1)(KEY, (5,), jnp.float32)) == 2)


def test_wide_truncation_has_no_outliers():
    """In a million draws of deviation 0.01 nothing comes near the bounds of 2."""
    values = draw(init.trunc_normal(0.0, 0.01), (1 << 20,), jnp.bfloat16)
    assert np.abs(np.asarray(values, np.float32)).max() < 0.0545


def test_sparse_zeroes_a_fraction_of_every_inputs_weights():
    ours = np.asarray(draw(init.sparse(0.3, 0.5), (40, 25)))
    theirs = torch.nn.init.sparse_(torch.empty(25, 40), 0.3, 0.5).numpy()
    np.testing.assert_array_equal((ours == 0).sum(1), (theirs == 0).sum(0))
    assert len({tuple(row) for row in ours == 0}) > 30  # not the same places in each
    assert abs(ours[ours != 0].std() - 0.5) < 0.05


@pytest.mark.parametrize(
    "make",
    [lambda: init.calculate_gain("gelu"), lambda: init.kaiming_normal(mode="fan"), lambda: init.fans((3,)),
     lambda: init.sparse(0.1)(KEY, (2, 2, 2)), lambda: init.sparse(1.5),
     lambda: init.xavier_uniform()(KEY, (3,)), lambda: init.kaiming_uniform(nonlinearity="x"),
     lambda: init.trunc_normal(a=1.0, b=0.0)],
)  # fmt: skip
def test_refusals(make):
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        make()
