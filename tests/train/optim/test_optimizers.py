"""torch's optimizers against torch: in float64 both take the same steps.

Every test is derived from the rows of `against_torch.ROWS`.
"""

import dataclasses
import inspect
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from convert.certificate.tolerances import TOLERANCES
from convert.optimizers import STATES
from tests.train.optim.against_torch import (
    CASES,
    ROWS,
    SCHEDULE_CASES,
    SCHEDULES,
    STEPS_TOLERANCE,
    describe,
    largest_difference,
    torch_optimizer,
)
from tests.train.rounding import rounding
from train.optim import (
    OPTIMIZERS,
    SGD,
    Adam,
    clip_grad_norm,
    clip_grad_value,
    cosine_annealing_lr,
    exponential_lr,
    to_optax,
)

pytestmark = pytest.mark.standard_promotion("training runs under jax's default promotion")

SWITCHES = {"foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"}
"""Arguments of torch that choose an implementation; AdamW is a class of its own here."""


ALL_FIELDS = [(name, row.full) for name, row in ROWS.items()]


def test_every_optimizer_has_a_row():
    assert ROWS.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_arguments_and_their_defaults_are_those_of_torch(name):
    signature = inspect.signature(getattr(torch.optim, name)).parameters
    expected = {k: p.default for k, p in signature.items() if k not in SWITCHES | {"params"}}
    ours = {field.name: field.default for field in dataclasses.fields(OPTIMIZERS[name])}
    assert ours == expected


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_can_be_converted(name):
    config = OPTIMIZERS[name](**ROWS[name].full)
    state: Any = to_optax(config).init({"p": jnp.ones(3)})
    assert type(state) in STATES
    assert None not in state, "the arguments `full` of the row leave a field of the state unused"
    kept_by_jax_alone = set(getattr(state, "jax_only", ()))
    assert STATES[type(state)].keys() | kept_by_jax_alone == set(state._fields)


@pytest.mark.parametrize(
    ("name", "options"), [*CASES, *((n, row.full) for n, row in ROWS.items())], ids=describe
)
def test_the_state_has_the_keys_of_torch(name, options):
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    twin = torch_optimizer(name, [p], **options)
    twin.step()
    state: Any = to_optax(OPTIMIZERS[name](**options)).init({"p": jnp.ones(3)})
    used = {key for field, key in STATES[type(state)].items() if getattr(state, field) is not None}
    assert used == twin.state[p].keys()


@pytest.mark.parametrize(("name", "options"), CASES, ids=describe)
def test_steps_are_those_of_torch_in_float64(name, options):
    with jax.enable_x64(True):
        assert largest_difference(name, options, np.float64, compiled=False) < STEPS_TOLERANCE


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_compiled_steps_are_those_of_torch_in_float32(name):
    options = {"lr": 0.01, "momentum": 0.9} if "momentum" in vars(OPTIMIZERS[name]()) else {"lr": 0.01}
    # DESIGN.md bounds only losses after steps in float32; this holds every leaf to the bound of a gradient.
    assert largest_difference(name, options, np.float32) < TOLERANCES["float32"].gradient


@pytest.mark.parametrize(("name", "schedule"), list(zip(OPTIMIZERS, cycle(SCHEDULES), strict=False)))
def test_steps_are_those_of_torch_on_a_schedule(name, schedule):
    schedule_options = next(options for known, options in SCHEDULE_CASES if known == schedule)
    options = {"lr": 0.05, "weight_decay": 0.1}  # the decay of AdamW follows the schedule too
    with jax.enable_x64(True):
        found = largest_difference(name, options, np.float64, schedule=(schedule, schedule_options))
    assert found < STEPS_TOLERANCE


def numbers_of(name: str) -> list[str]:
    """The fields of a config that are one number."""
    return [n for n, value in vars(OPTIMIZERS[name]()).items() if isinstance(value, float)]


def torch_refuses(name: str, options: dict[str, Any]) -> bool:
    try:
        torch_optimizer(name, [torch.nn.Parameter(torch.ones(1))], **options)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {field: -0.1}) for name in OPTIMIZERS for field in numbers_of(name)),
        *((name, options) for name, row in ROWS.items() for options in row.refused),
    ],
    ids=describe,
)
def test_what_torch_refuses_is_refused(name, options):
    assert torch_refuses(name, options) or options == {"dampening": -0.1}  # which torch alone accepts
    with pytest.raises(ValueError, match=next(iter(options))):
        OPTIMIZERS[name](**options)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nan_is_refused(name):
    for field in numbers_of(name):
        with pytest.raises(ValueError, match=f"{field} must not be negative, got nan"):
            OPTIMIZERS[name](**dict[str, Any]({field: float("nan")}))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_needs_the_parameters(name):
    grads = {"p": jnp.ones(3)}
    optimizer = to_optax(OPTIMIZERS[name](weight_decay=0.1))
    with pytest.raises(ValueError, match="weight_decay needs the parameters"):
        jax.eval_shape(optimizer.update, grads, optimizer.init(grads))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("scheduled", [False, True])
def test_every_array_keeps_its_dtype(name, x64, scheduled):
    config = OPTIMIZERS[name](**{**ROWS[name].full, "weight_decay": 0.1, "lr": 0.1})
    optimizer = to_optax(config, lr=exponential_lr(0.1, 0.9) if scheduled else None)
    optimizer = optax.chain(clip_grad_norm(1.0), clip_grad_value(0.5), optimizer)
    with jax.enable_x64(x64):
        dtypes = [jnp.bfloat16, jnp.float32] + [jnp.float64] * x64
        params = [jax.ShapeDtypeStruct((3,), dtype) for dtype in dtypes]
        state = jax.eval_shape(optimizer.init, params)
        updates, after = jax.eval_shape(optimizer.update, params, state, params)
        assert [u.dtype for u in updates] == dtypes
        assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)
        assert {x.dtype for x in jax.tree.leaves(state) if x.shape == ()} <= {jnp.dtype(jnp.int32)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_nnx_state_is_trained_under_jit_with_donation(name):
    """No two fields of a state share a buffer; such a buffer could not be donated."""
    params = nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Param)
    optimizer = to_optax(OPTIMIZERS[name](**ROWS[name].full), lr=cosine_annealing_lr(0.05, 20))

    def step(params: Any, state: Any) -> Any:
        updates, state = optimizer.update(params, state, params)
        return optax.apply_updates(params, updates), state

    plain: Any = jax.tree.leaves(jax.tree.map(jnp.copy, params))
    plain_state: Any
    state: Any
    plain_state, state = optimizer.init(plain), optimizer.init(params)
    moments = [value for field, value in state._asdict().items() if field != "step"]
    assert moments and all(jax.tree.structure(m) == jax.tree.structure(params) for m in moments)
    plain_step, donating_step = jax.jit(step), jax.jit(step, donate_argnums=(0, 1))
    for _ in range(3):
        params, state = donating_step(params, state)
        plain, plain_state = plain_step(plain, plain_state)
    assert int(state.step) == 3
    leaves = zip(jax.tree.leaves((params, state)), jax.tree.leaves((plain, plain_state)), strict=True)
    for ours, expected in leaves:
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_bfloat16_is_rounded_as_torch_rounds_it_or_less_often(name):
    """After 30 steps the relative difference is at most five roundings of bfloat16, 1/256 each."""
    config = OPTIMIZERS[name](lr=0.02)
    optimizer, p = to_optax(config), torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    params = jnp.ones(3, jnp.bfloat16)
    twin = torch_optimizer(name, [p], **dataclasses.asdict(config))
    state: Any = optimizer.init(params)
    for number in range(30):
        p.grad = torch.full((3,), 0.5 + 0.1 * (number % 5), dtype=torch.bfloat16)
        twin.step()
        grads = jnp.asarray(p.grad.float().numpy(), jnp.bfloat16)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    moments = [(getattr(state, key), value) for key, value in twin.state[p].items() if key != "step"]
    pairs: Any = [(params, p.detach()), *moments]
    for ours, theirs in pairs:
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), theirs.float().numpy(), rtol=5 / 256)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.99, 0.9999), (0.0, 0.9)], ids=str)
def test_bias_correction_keeps_its_digits_in_float32(betas):
    """1 - 0.9999**step has an error of 1e-4 at the first step where it is computed in float32."""
    optimizer = to_optax(Adam(lr=1.0, betas=betas))
    m, v = 0.5 * betas[0] + 0.75 * (1 - betas[0]), 0.25 * betas[1] + 0.75**2 * (1 - betas[1])
    for step in (1, 10, 1000, 100_000):
        moments = {"exp_avg": jnp.float32(0.5), "exp_avg_sq": jnp.float32(0.25)}
        start: Any = optimizer.init(jnp.zeros(()))
        state = start._replace(step=jnp.int32(step - 1), **moments)
        update, _ = optimizer.update(jnp.float32(0.75), state)
        expected = -(m / (1 - betas[0] ** step)) / (np.sqrt(v / (1 - betas[1] ** step)) + 1e-8)
        assert update == pytest.approx(expected, rel=rounding(np.float32, 8))


def test_the_first_step_of_dampening_is_without_it():
    """torch stores the first gradient whole in the buffer."""
    optimizer = to_optax(SGD(lr=1.0, momentum=0.9, dampening=0.5))
    updates: Any
    updates, state = optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))
    assert updates.tolist() == [-1.0]
    updates, _ = optimizer.update(jnp.ones(1), state)
    assert float(updates[0]) == pytest.approx(-(0.9 * 1 + 0.5), rel=rounding(np.float32, 2))
