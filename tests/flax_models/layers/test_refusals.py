"""What torch refuses we refuse, with a ValueError that says why; and every layer runs in every type."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from flax_models import layers
from tests.agreement import channels_first
from tests.compilation import QUICK
from tests.flax_models.layers.layer_pairs import build, torch_layer

IMAGES = (2, 5, 6, 4)
REFUSED = [  # name, arguments, input shape in our layout
    ("Linear", (3, 2), {}, (2, 4)),
    ("Maxout", (3, 2, 0), {}, (2, 3)),
    ("Maxout", (3, 2, 2), {}, (2, 4)),
    ("Conv2d", (4, 6, 3), {"groups": 4}, IMAGES),
    ("Conv2d", (4, 6, 3), {"groups": 0}, IMAGES),
    ("Conv2d", (4, 6, 7), {}, IMAGES),
    ("Conv2d", (3, 6, 3), {}, IMAGES),
    ("Conv2d", (4, 6, 3), {"padding": -1}, IMAGES),
    ("Conv2d", (4, 6, 3), {"stride": 0}, IMAGES),
    ("Conv2d", (4, 6, 3), {"padding": "same", "stride": 2}, IMAGES),
    ("Conv2d", (4, 6, 3), {"padding": "full"}, IMAGES),
    ("Conv2d", (4, 6, (3, 3, 3)), {}, IMAGES),
    ("ConvTranspose2d", (3, 6, 3), {}, IMAGES),
    ("ConvTranspose2d", (4, 6, 3), {"output_padding": 1}, IMAGES),
    ("ConvTranspose2d", (4, 6, 3), {"output_padding": -1, "stride": 2}, IMAGES),
    ("ConvTranspose2d", (4, 6, 3), {"padding": 4}, IMAGES),
    ("ConvTranspose2d", (4, 6, 3), {"groups": 4}, IMAGES),
    ("BatchNorm1d", (3,), {}, (1, 3)),
    ("BatchNorm1d", (3,), {}, (4, 2)),
    ("BatchNorm1d", (4,), {}, IMAGES),
    ("BatchNorm2d", (3,), {}, IMAGES),
    ("BatchNorm2d", (4,), {}, (5, 4)),
    ("InstanceNorm2d", (4,), {}, (2, 1, 1, 4)),
    ("InstanceNorm2d", (3,), {"affine": True}, IMAGES),
    ("GroupNorm", (3, 4), {}, IMAGES),
    ("GroupNorm", (0, 4), {}, IMAGES),
    ("GroupNorm", (2, 6), {}, IMAGES),
    ("GroupNorm", (2, 2), {}, (1, 2)),
    ("GroupNorm", (2, 2), {}, (2,)),
    ("LayerNorm", ((),), {}, (2, 3)),
    ("LayerNorm", (4,), {}, (2, 3)),
    ("LayerNorm", ((4, 6, 5),), {}, IMAGES),
    ("MaxPool2d", (2,), {"padding": 2}, IMAGES),
    ("MaxPool2d", (2,), {"padding": 2, "dilation": 3}, IMAGES),
    ("MaxPool2d", (2,), {"padding": -1}, IMAGES),
    ("MaxPool2d", (2,), {"stride": 0}, IMAGES),
    ("MaxPool2d", (2,), {"dilation": 0}, IMAGES),
    ("MaxPool2d", (6,), {}, IMAGES),
    ("AvgPool2d", (2,), {"divisor_override": 0}, IMAGES),
    ("AvgPool2d", (3,), {"padding": 2}, IMAGES),
    ("AvgPool2d", (0,), {}, IMAGES),
    ("AvgPool2d", (6,), {}, IMAGES),
    ("LPPool2d", (0, 2), {}, IMAGES),
    ("LPPool2d", (2, 6), {}, IMAGES),
    ("AdaptiveAvgPool2d", (-1,), {}, IMAGES),
    ("AdaptiveAvgPool2d", (None,), {}, IMAGES),
    ("AdaptiveAvgPool2d", ((1, 2, 3),), {}, IMAGES),
    ("AdaptiveMaxPool2d", (-1,), {}, IMAGES),
    ("AdaptiveMaxPool2d", ((1, 2, 3),), {}, IMAGES),
    ("Upsample", (), {}, IMAGES),
    ("Upsample", (3, 2.0), {}, IMAGES),
    ("Upsample", (), {"scale_factor": 2, "align_corners": True}, IMAGES),
    ("Upsample", (), {"scale_factor": 0.1}, IMAGES),
    ("Upsample", (0,), {}, IMAGES),
    ("Upsample", (), {"scale_factor": (2, 2, 2)}, IMAGES),
    ("Upsample", (), {"scale_factor": 2, "mode": "cubic"}, IMAGES),
    ("Upsample", (4,), {"recompute_scale_factor": True}, IMAGES),
    ("ReflectionPad2d", (5,), {}, IMAGES),
    ("ReflectionPad2d", ((1, 2, 3),), {}, IMAGES),
    ("ZeroPad2d", ((-4, -4, 0, 0),), {}, IMAGES),
    ("Embedding", (4, 2, 4), {}, None),
    ("Embedding", (4, 2, -5), {}, None),
    ("Embedding", (4, 2), {}, (2, 3)),
    ("Dropout", (1.5,), {}, (2, 3)),
    ("Dropout2d", (-0.5,), {}, IMAGES),
    ("RNN", (3, 2), {"nonlinearity": "sigmoid"}, (4, 2, 3)),
    ("RNN", (3, 2), {}, (4, 2, 4)),
    ("LSTM", (3, 0), {}, (4, 2, 3)),
    ("LSTM", (0, 3), {}, (4, 2, 0)),
    ("LSTM", (3, 2, 0), {}, (4, 2, 3)),
    ("LSTM", (3, 2, 2), {"dropout": 1.5}, (4, 2, 3)),
    ("GRU", (3, 2), {}, (1, 4, 2, 3)),
    ("GRU", (3, 2), {}, (0, 2, 3)),
    ("GRUCell", (3, 2), {}, (2, 4)),
    ("GRUCell", (3, 2), {}, (4, 2, 3)),
    ("GELU", ("erf",), {}, (2, 3)),
    ("Hardtanh", (1.0, 1.0), {}, (2, 3)),
    ("PReLU", (3,), {}, IMAGES),
    ("Softmax", (4,), {}, IMAGES),
    ("LogSoftmax", (-5,), {}, IMAGES),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), REFUSED)
def test_refuses_what_torch_refuses(name, args, kwargs, shape):
    x = None if shape is None else np.ones(shape, np.float32)
    with pytest.raises(Exception):  # noqa: B017  torch's types vary
        torch_layer(name, *args, **kwargs)(None if x is None else torch.tensor(channels_first(x)))
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        nnx.eval_shape(lambda: build(name, *args, **kwargs, **_float32(name))(x))


def test_refuses_wrong_states_and_lengths():
    layer = build("LSTM", 3, 2, param_dtype=jnp.float32)
    x, h = jnp.ones((4, 2, 3)), jnp.ones((1, 2, 2))
    for hx in ((h,), (h, h[0]), (h, jnp.ones((1, 3, 2)))):
        with pytest.raises(ValueError, match="state"):
            layer(x, hx)
    with pytest.raises(ValueError, match=r"state of \(2, 2\), got \(2, 3\)"):
        build("GRUCell", 3, 2, param_dtype=jnp.float32)(x[0], jnp.ones((2, 3)))
    for lengths in (jnp.array([1, 2, 3]), jnp.array(3)):
        with pytest.raises(ValueError, match="lengths"):
            layer(x, lengths=lengths)
    with pytest.raises(ValueError, match="lengths"):
        layer(x[:, 0], lengths=jnp.array([3]))


def test_dropout_without_randomness_is_refused():
    with pytest.raises(ValueError, match="rngs or a mask"):
        layers.Dropout()(jnp.ones(3))


SEQUENCE = (3, 2, 4)
EXAMPLES = {  # every public layer once: arguments, input shape
    "AdaptiveAvgPool2d": ((3,), IMAGES), "AdaptiveMaxPool2d": ((3,), IMAGES), "AvgPool2d": ((2,), IMAGES),
    "BatchNorm1d": ((4,), (3, 4)), "BatchNorm2d": ((4,), IMAGES), "Conv2d": ((4, 3, 2), IMAGES),
    "ConvTranspose2d": ((4, 3, 2), IMAGES), "Dropout": ((), IMAGES), "Dropout2d": ((), IMAGES),
    "ELU": ((), IMAGES), "Embedding": ((5, 4), None), "Flatten": ((), IMAGES), "GELU": ((), IMAGES),
    "GRU": ((4, 3), SEQUENCE), "GRUCell": ((4, 3), (2, 4)),
    "GroupNorm": ((2, 4), IMAGES), "Hardtanh": ((), IMAGES), "Identity": ((), IMAGES),
    "InstanceNorm2d": ((4,), IMAGES), "LPPool2d": ((2, 2), IMAGES),
    "LSTM": ((4, 3, 2), SEQUENCE), "LayerNorm": ((4,), IMAGES), "LeakyReLU": ((), IMAGES),
    "Linear": ((4, 3), IMAGES), "LogSoftmax": ((1,), IMAGES), "MaxPool2d": ((2,), IMAGES),
    "Maxout": ((4, 3, 2), IMAGES), "PReLU": ((), IMAGES), "RNN": ((4, 3), SEQUENCE), "ReLU": ((), IMAGES),
    "ReflectionPad2d": ((1,), IMAGES), "Sequential": ((), IMAGES), "SiLU": ((), IMAGES),
    "Sigmoid": ((), IMAGES), "Softmax": ((1,), IMAGES), "Softplus": ((), IMAGES), "Tanh": ((), IMAGES),
    "Unflatten": ((1, (2, 1, 3)), (2, 6)), "Upsample": ((7,), IMAGES), "ZeroPad2d": ((1,), IMAGES),
}  # fmt: skip


def test_every_public_layer_is_here():
    assert set(EXAMPLES) == set(layers.__all__) - {"init"}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", EXAMPLES)
def test_runs_in(name, dtype):
    """A compute type, parameters staying float32: outputs and gradients are finite and of that type."""
    args, shape = EXAMPLES[name]
    options = _float32(name) | ({"dtype": dtype} if _float32(name) else {})
    x = jnp.array([1, 2])
    if shape is not None:
        x = jnp.asarray(np.random.default_rng(0).normal(size=shape), dtype)

    def outputs(x):
        return jax.tree.leaves(build(name, *args, **options)(x))

    def outputs_and_gradients(x):
        if shape is None:
            return outputs(x)
        y, pull = jax.vjp(outputs, x)
        return y, pull(y)

    for leaf in jax.tree.leaves(jax.jit(outputs_and_gradients, compiler_options=QUICK)(x)):
        assert leaf.dtype == dtype
        assert np.isfinite(np.asarray(leaf, np.float32)).all()


def _float32(name):
    accepted = inspect.signature(getattr(layers, name).__init__).parameters
    return {"param_dtype": jnp.float32} if "param_dtype" in accepted else {}
