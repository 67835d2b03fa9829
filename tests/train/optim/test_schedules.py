"""torch's learning-rate schedules against torch, and the linear decay of a run."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.train.optim.against_torch import SCHEDULE_CASES, SCHEDULES, describe
from tests.train.rounding import rounding
from train.optim import linear_decay

pytestmark = pytest.mark.standard_promotion("training runs under jax's default promotion")


def test_every_schedule_has_a_case():
    assert {name for name, _ in SCHEDULE_CASES} == SCHEDULES.keys()


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_arguments_and_their_order_are_those_of_torch(name):
    """Our first argument is the rate, in place of torch's optimizer."""

    def arguments(function):
        parameters = inspect.signature(function).parameters
        return [(k, p.default) for k, p in parameters.items() if k != "last_epoch"][1:]

    assert arguments(SCHEDULES[name]) == arguments(getattr(torch.optim.lr_scheduler, name))


@pytest.mark.parametrize(("name", "options"), SCHEDULE_CASES, ids=describe)
def test_rates_are_those_of_torch(name, options):
    twin = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    twin_schedule = getattr(torch.optim.lr_scheduler, name)(twin, **options)
    expected = []
    for _ in range(100):
        expected.append(twin.param_groups[0]["lr"])
        twin.step()
        twin_schedule.step()
    # torch multiplies rates step by step, so the comparison is relative: small rates count as large ones do.
    for x64, dtype, operations in ((True, np.float64, 256), (False, np.float32, 8)):
        with jax.enable_x64(x64):
            rates = jax.jit(jax.vmap(SCHEDULES[name](0.4, **options)))(jnp.arange(100, dtype=jnp.int32))
            np.testing.assert_allclose(rates, expected, rtol=rounding(dtype, operations), atol=1e-16)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("StepLR", {"step_size": 0}),
        ("CosineAnnealingLR", {"T_max": 0}),
        ("LinearLR", {"start_factor": 0.0}),
        ("LinearLR", {"end_factor": 1.5}),
        ("ExponentialLR", {"gamma": -0.5}),
        ("ExponentialLR", {"gamma": math.nan}),
    ],
    ids=describe,
)
def test_arguments_without_meaning_are_refused(name, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SCHEDULES[name](0.1, **options)


def test_the_linear_decay_of_a_run():
    factors = [float(linear_decay(step, 10, after=0.5)) for step in (0, 5, 6, 9, 10, 12)]
    assert factors == pytest.approx([1, 1, 0.8, 0.2, 0, 0])
    assert [float(linear_decay(step, 4)) for step in range(5)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert linear_decay(3, None) == linear_decay(9, 10, after=1) == 1
