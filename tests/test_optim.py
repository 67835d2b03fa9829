"""torch's optimizers, schedules and clipping against torch itself: in float64 they take the same steps."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from train.optim import (
    OPTIMIZERS,
    adam,
    adamw,
    clip_grad_norm,
    clip_grad_value,
    cosine_annealing_lr,
    exponential_lr,
    linear_lr,
    multi_step_lr,
    sgd,
    step_lr,
)

SCHEDULES = {
    "StepLR": step_lr,
    "MultiStepLR": multi_step_lr,
    "ExponentialLR": exponential_lr,
    "CosineAnnealingLR": cosine_annealing_lr,
    "LinearLR": linear_lr,
}
STEPS = 50
TOLERANCE = 1e-10  # DESIGN.md: optimizer steps in float64
SHAPES = {"kernel": (4, 3), "scale": ()}

CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.03}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "dampening": 0.5}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 1e-3, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 1e-3, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.05}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.03}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.3}),
    ("Adagrad", {"lr": 0.1, "eps": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-3, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.8}),
    ("RMSprop", {"alpha": 0.3, "centered": True}),
    ("RMSprop", {"eps": 0.1}),
    ("RMSprop", {"weight_decay": 0.03}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1, "maximize": True}),
] + [
    (name, options)
    for name in ("Adam", "AdamW")
    for options in (
        {},
        {"lr": 0.05},
        {"lr": 0.05, "betas": (0.5, 0.9)},
        {"lr": 0.01, "betas": (0.0, 0.0)},
        {"lr": 0.05, "eps": 0.1},
        {"lr": 0.05, "weight_decay": 0.0},
        {"lr": 0.05, "weight_decay": 0.3},
        {"lr": 0.05, "betas": (0.9, 0.5), "amsgrad": True},
        {"lr": 0.01, "betas": (0.3, 0.9), "weight_decay": 0.1, "amsgrad": True, "maximize": True},
    )
]  # fmt: skip

SCHEDULE_CASES = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 41, "gamma": 0.5}),  # 41 * (1 / 41) < 1
    ("MultiStepLR", {"milestones": [3, 20, 20, 33]}),
    ("MultiStepLR", {"milestones": [10, 30], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.97}),
    ("ExponentialLR", {"gamma": 0.0}),
    ("CosineAnnealingLR", {"T_max": 20}),  # 50 steps: down, up and down again
    ("CosineAnnealingLR", {"T_max": 50, "eta_min": 1e-3}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.7, "end_factor": 0.1, "total_iters": 30}),
    ("LinearLR", {"total_iters": 0}),
]

CLIPS = {
    "norm": (clip_grad_norm, torch.nn.utils.clip_grad_norm_),
    "value": (clip_grad_value, torch.nn.utils.clip_grad_value_),
}


def describe(value):
    return ",".join(f"{k}={v}" for k, v in value.items()) or "defaults" if isinstance(value, dict) else None


def random_tree(seed, dtype, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def gradient(p, noise):
    """Of a loss that is not quadratic: in numbers that both frameworks compute, whatever the array's kind."""
    return noise + p / (1 + p * p) + 0.1 * p * p * p


def error(ours, theirs):
    """max|a - b| / max(1, max|b|), as DESIGN.md has it."""
    theirs = np.asarray(theirs)
    return np.max(np.abs(np.asarray(ours) - theirs)) / max(1, np.max(np.abs(theirs)))


def largest_error(name, options, dtype, schedule=None, clip=None, quick=False):
    """Over the steps of both twins: the largest error of a parameter or of a moment.

    quick: one array and not compiled, since compiling takes most of the time.
    """
    jax_options, (make_schedule, schedule_options) = dict(options), schedule or (None, None)
    if schedule:
        jax_options["lr"] = SCHEDULES[make_schedule](options["lr"], **schedule_options)
    optimizer = OPTIMIZERS[name](**jax_options)
    if clip:
        kind, limit = clip
        optimizer = optax.chain(CLIPS[kind][0](limit), optimizer)

    def step(params, state, noise):
        grads = jax.tree.map(gradient, params, noise)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    shapes = {"kernel": SHAPES["kernel"]} if quick else SHAPES
    step = step if quick else jax.jit(step)
    start = random_tree(0, dtype, shapes)
    params = jax.tree.map(jnp.asarray, start)
    state = optimizer.init(params)
    twins = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in start.items()}
    twin = getattr(torch.optim, name)(twins.values(), **options)
    if schedule:
        twin_schedule = getattr(torch.optim.lr_scheduler, make_schedule)(twin, **schedule_options)

    worst = 0
    for k in range(STEPS):
        noise = random_tree(k + 1, dtype, shapes)
        params, state = step(params, state, noise)
        for key, p in twins.items():
            p.grad = gradient(p.detach(), torch.tensor(noise[key]))
        if clip:
            CLIPS[kind][1](twins.values(), limit)
        twin.step()
        if schedule:
            twin_schedule.step()

        moments = (state[1] if clip else state)._asdict()
        for key, p in twins.items():
            worst = max(worst, error(params[key], p.detach()))
            for field, value in twin.state[p].items():
                ours = moments[field] if field == "step" else moments[field][key]
                worst = max(worst, error(ours, value))
    assert all(np.max(np.abs(params[key] - start[key])) > 1e-3 for key in start)
    return worst


@pytest.mark.parametrize(("name", "options"), CASES, ids=describe)
def test_takes_torchs_steps_in_float64(name, options):
    with jax.enable_x64(True):
        assert largest_error(name, options, np.float64, quick=True) < TOLERANCE


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_takes_torchs_steps_in_float32(name):
    options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    assert largest_error(name, {"lr": 0.01, **options}, np.float32) < 1e-4


@pytest.mark.parametrize(("schedule", "options"), SCHEDULE_CASES, ids=describe)
def test_schedules_are_torchs(schedule, options):
    twin = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    twin_schedule = getattr(torch.optim.lr_scheduler, schedule)(twin, **options)
    expected = []
    for _ in range(100):
        expected.append(twin.param_groups[0]["lr"])
        twin.step()
        twin_schedule.step()
    for x64, tolerance in ((True, 1e-13), (False, 1e-6)):
        with jax.enable_x64(x64):
            rates = jax.jit(jax.vmap(SCHEDULES[schedule](0.4, **options)))(jnp.arange(100, dtype=jnp.int32))
            np.testing.assert_allclose(rates, expected, rtol=tolerance, atol=1e-16)


@pytest.mark.parametrize(("name", "schedule"), list(zip(OPTIMIZERS, SCHEDULES, strict=True)))
def test_takes_torchs_steps_on_a_schedule(name, schedule):
    schedule_options = next(options for known, options in SCHEDULE_CASES if known == schedule)
    options = {"lr": 0.05, "weight_decay": 0.1}  # AdamW's decay follows the schedule too
    with jax.enable_x64(True):
        assert largest_error(name, options, np.float64, schedule=(schedule, schedule_options)) < TOLERANCE


@pytest.mark.parametrize("clip", [("norm", 0.5), ("norm", 3.0), ("norm", 1e3), ("value", 0.3)], ids=str)
def test_takes_torchs_steps_with_clipping(clip):
    with jax.enable_x64(True):
        assert largest_error("SGD", {"lr": 0.05, "momentum": 0.9}, np.float64, clip=clip) < TOLERANCE


@pytest.mark.parametrize("size", [1e-8, 1e-6, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("limit", [1e-6, 1.0])
@pytest.mark.parametrize("kind", CLIPS)
def test_clips_as_torch_does(kind, limit, size):
    """Small norms among them: there the 1e-6 in torch's denominator shows."""
    ours, theirs = CLIPS[kind]
    with jax.enable_x64(True):
        grads = {k: size * v for k, v in random_tree(0, np.float64).items()}
        clipped, _ = ours(limit).update(grads, ours(limit).init(grads))
        twins = {k: torch.zeros(v.shape, dtype=torch.float64) for k, v in grads.items()}
        for k, twin in twins.items():
            twin.grad = torch.tensor(grads[k])
        theirs(twins.values(), limit)
        for k, twin in twins.items():
            np.testing.assert_allclose(clipped[k], twin.grad.numpy(), rtol=1e-14)


@pytest.mark.parametrize(("name", "options"), CASES, ids=describe)
def test_state_has_torchs_keys(name, options):
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    twin = getattr(torch.optim, name)([p], **options)
    twin.step()
    state = OPTIMIZERS[name](**options).init({"p": jnp.ones(3)})
    used = {field for field, value in state._asdict().items() if value is not None}
    if name == "SGD" and options.get("momentum") and options.get("dampening"):
        used.remove("step")  # torch knows the first step by its missing buffer
    assert used == set(twin.state[p])


@pytest.mark.parametrize("kind", [*OPTIMIZERS, *SCHEDULES])
def test_arguments_are_torchs(kind):
    """Names, order and defaults; left out are the switches of torch's implementations."""
    switches = {"foreach", "capturable", "differentiable", "fused", "last_epoch"}
    is_schedule = kind in SCHEDULES
    ours = (SCHEDULES if is_schedule else OPTIMIZERS)[kind]
    theirs = getattr(torch.optim.lr_scheduler if is_schedule else torch.optim, kind)

    def arguments(f):
        return {k: v.default for k, v in inspect.signature(f).parameters.items() if k not in switches}

    expected = list(arguments(theirs).items())[1:]  # without params, or optimizer
    if kind == "Adam":
        expected.remove(("decoupled_weight_decay", False))  # AdamW is a function of its own
    assert list(arguments(ours).items())[int(is_schedule) :] == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {"lr": -0.1}) for name in OPTIMIZERS),
        *((name, {"weight_decay": -0.1}) for name in OPTIMIZERS),
        *((name, {"eps": -0.1}) for name in OPTIMIZERS if name != "SGD"),
        *((name, {"betas": betas}) for name in ("Adam", "AdamW") for betas in ((1.0, 0.9), (0.9, -0.1))),
        ("SGD", {"momentum": -0.1}),
        ("SGD", {"nesterov": True}),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
        ("Adagrad", {"lr_decay": -0.1}),
        ("Adagrad", {"initial_accumulator_value": -0.1}),
        ("RMSprop", {"alpha": -0.1}),
        ("RMSprop", {"momentum": -0.1}),
    ],
    ids=describe,
)
def test_refuses_what_torch_refuses(name, options):
    with pytest.raises(ValueError):
        getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(1))], **options)
    with pytest.raises(ValueError, match=next(iter(options))):
        OPTIMIZERS[name](**options)


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        ("StepLR", {"step_size": 0}),
        ("CosineAnnealingLR", {"T_max": 0}),
        ("LinearLR", {"start_factor": 0.0}),
        ("LinearLR", {"end_factor": 1.5}),
        ("ExponentialLR", {"gamma": -0.5}),
    ],
    ids=describe,
)
def test_refuses_schedules_without_meaning(schedule, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SCHEDULES[schedule](0.1, **options)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_asks_for_the_parameters(name):
    grads = {"p": jnp.ones(3)}
    optimizer = OPTIMIZERS[name](weight_decay=0.1)
    with pytest.raises(ValueError, match="weight_decay needs the parameters"):
        jax.eval_shape(optimizer.update, grads, optimizer.init(grads))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.99, 0.9999), (0.0, 0.9)], ids=str)
def test_bias_correction_keeps_its_digits_in_float32(betas):
    """1 - 0.9999**step computed in float32 is off by 1e-4 at the first step."""
    optimizer = adam(lr=1.0, betas=betas)
    m, v = 0.5 * betas[0] + 0.75 * (1 - betas[0]), 0.25 * betas[1] + 0.75**2 * (1 - betas[1])
    for step in (1, 10, 1000, 100_000):
        moments = {"exp_avg": jnp.float32(0.5), "exp_avg_sq": jnp.float32(0.25)}
        state = optimizer.init(jnp.zeros(()))._replace(step=jnp.int32(step - 1), **moments)
        update, _ = optimizer.update(jnp.float32(0.75), state)
        expected = -(m / (1 - betas[0] ** step)) / (np.sqrt(v / (1 - betas[1] ** step)) + 1e-8)
        assert update == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("scheduled", [False, True])
def test_dtypes_do_not_drift(name, x64, scheduled):
    options = {"SGD": {"momentum": 0.9, "dampening": 0.1}, "RMSprop": {"momentum": 0.9, "centered": True}}
    options = options.get(name, {}) | {
        "weight_decay": 0.1,
        "lr": exponential_lr(0.1, 0.9) if scheduled else 0.1,
    }
    optimizer = optax.chain(clip_grad_norm(1.0), clip_grad_value(0.5), OPTIMIZERS[name](**options))
    with jax.enable_x64(x64):
        dtypes = [jnp.bfloat16, jnp.float32] + [jnp.float64] * x64
        params = [jax.ShapeDtypeStruct((3,), dtype) for dtype in dtypes]
        state = jax.eval_shape(optimizer.init, params)
        updates, after = jax.eval_shape(optimizer.update, params, state, params)
        assert [u.dtype for u in updates] == dtypes
        assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)
        assert {x.dtype for x in jax.tree.leaves(state) if x.shape == ()} <= {jnp.dtype(jnp.int32)}


def test_bfloat16_stays_beside_torchs():
    """Rounded where torch rounds or less often: within two of bfloat16's digits of 1/256 after 30 steps."""
    optimizer, p = adam(lr=0.02), torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    params = jnp.ones(3, jnp.bfloat16)
    twin, state = torch.optim.Adam([p], lr=0.02), optimizer.init(params)
    for k in range(30):
        p.grad = torch.full((3,), 0.5 + 0.1 * (k % 5), dtype=torch.bfloat16)
        twin.step()
        updates, state = optimizer.update(jnp.asarray(p.grad.float().numpy(), jnp.bfloat16), state)
        params = optax.apply_updates(params, updates)
    pairs = [(params, p.detach())] + [
        (getattr(state, k), twin.state[p][k]) for k in ("exp_avg", "exp_avg_sq")
    ]
    for ours, theirs in pairs:
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), theirs.float().numpy(), rtol=0.02)


@pytest.mark.parametrize(
    "make", [partial(sgd, momentum=0.9), partial(adamw, amsgrad=True)], ids=["sgd", "adamw"]
)
def test_steps_nnx_states_under_jit_with_donation(make):
    """No two fields of a state may share a buffer, or it could not be donated."""
    params = nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Param)
    optimizer = make(lr=cosine_annealing_lr(0.05, 20))

    def step(params, state):
        updates, state = optimizer.update(params, state, params)
        return optax.apply_updates(params, updates), state

    plain = jax.tree.leaves(jax.tree.map(jnp.copy, params))
    plain_state, state = optimizer.init(plain), optimizer.init(params)
    moments = [value for field, value in state._asdict().items() if field != "step" and value is not None]
    assert moments and all(jax.tree.structure(m) == jax.tree.structure(params) for m in moments)
    plain_step, donating_step = jax.jit(step), jax.jit(step, donate_argnums=(0, 1))
    for _ in range(3):
        params, state = donating_step(params, state)
        plain, plain_state = plain_step(plain, plain_state)
    assert int(state.step) == 3
    for ours, expected in zip(
        jax.tree.leaves((params, state)), jax.tree.leaves((plain, plain_state)), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
