"""Conv2d and ConvTranspose2d beside torch's, to their second derivatives."""

import math
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flax_models.layers.ops import conv, conv_forms
from flax_models.layers.ops.conv_forms import Geometry
from tests.agreement import assert_pair_agrees
from tests.compilation import QUICK
from tests.flax_models.layers.layer_pairs import build, layer_pair, seeds, torch_layer

small = st.integers(1, 3)
pairs = st.tuples(small, small)
zeros = st.tuples(st.integers(0, 2), st.integers(0, 2))
sizes = st.tuples(st.integers(2, 6), st.integers(2, 6))
channels = st.sampled_from([(2, 3, 1), (2, 4, 2), (3, 3, 3), (1, 2, 1)])


@pytest.fixture(params=["products in float64", "the forms of float32"])
def forms(request, monkeypatch):
    """Both choices of forms; the one of float32 is checked in float64 too, because that is strict."""
    if request.param == "the forms of float32":
        monkeypatch.setattr(conv_forms, "MOST_PATCHES", 0)


@pytest.mark.usefixtures("forms")
@given(sizes, channels, pairs, pairs, zeros, pairs, st.booleans(), seeds)
def test_conv2d(size, channels, kernel_size, stride, padding, dilation, bias, seed):
    room = zip(size, padding, dilation, kernel_size, strict=True)
    assume(all(n + 2 * p >= d * (k - 1) + 1 for n, p, d, k in room))
    in_channels, out_channels, groups = channels
    pair = layer_pair(
        "Conv2d", in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, seed=seed
    )
    x = np.random.default_rng(seed).normal(size=(2, *size, in_channels))
    assert_pair_agrees(pair, x, second=True, seed=seed)


@pytest.mark.filterwarnings("ignore:Using padding")  # torch pads a copy: no matter
@given(sizes, pairs, pairs, st.sampled_from(["same", "valid"]), seeds)
def test_conv2d_named_padding(size, kernel_size, dilation, padding, seed):
    extents = (d * (k - 1) + 1 for d, k in zip(dilation, kernel_size, strict=True))
    assume(padding == "same" or all(n >= e for n, e in zip(size, extents, strict=True)))
    pair = layer_pair("Conv2d", 2, 3, kernel_size, padding=padding, dilation=dilation, seed=seed)
    x = np.random.default_rng(seed).normal(size=(1, *size, 2))
    assert_pair_agrees(pair, x, seed=seed)


@pytest.mark.usefixtures("forms")
@given(sizes, channels, pairs, pairs, zeros, zeros, pairs, st.booleans(), seeds)
def test_conv_transpose2d(size, channels, kernel_size, stride, padding, extra, dilation, bias, seed):
    assume(all(e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)))
    geometry = zip(size, stride, padding, dilation, kernel_size, extra, strict=True)
    assume(min((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, s, p, d, k, e in geometry) >= 1)
    in_channels, out_channels, groups = channels
    pair = layer_pair(
        "ConvTranspose2d", in_channels, out_channels, kernel_size, stride, padding, extra, groups, bias,
        dilation, seed=seed,
    )  # fmt: skip
    x = np.random.default_rng(seed).normal(size=(2, *size, in_channels))
    assert_pair_agrees(pair, x, second=True, seed=seed)


@pytest.mark.parametrize("form", ["folded_input", "phases_together", "phases_apart"])
@given(sizes, pairs, pairs, zeros, zeros, seeds)
def test_every_form_of_the_input_gradient(form, size, kernel_size, stride, before, after, seed):
    """Which form a layer takes is a matter of speed: each is the transpose wherever it can be taken."""
    assume(form != "phases_apart" or all(k >= s for k, s in zip(kernel_size, stride, strict=True)))
    padding = (before[0], after[0]), (before[1], after[1])
    geometry = Geometry(size, kernel_size, stride, padding, dilation=(1, 1), groups=1)
    assume(all(n + sum(p) >= k for n, p, k in zip(size, padding, kernel_size, strict=True)))
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        shapes = (2, *size, 2), (2, *geometry.output_size, 3), (*kernel_size, 2, 3)
        x, y, w = (jnp.asarray(rng.normal(size=shape)) for shape in shapes)

        def both_products(x, y, w):
            back = getattr(conv_forms, form)(y, w, geometry)
            assert back.shape == x.shape
            return jnp.vdot(back, x), jnp.vdot(y, conv.conv2d(x, w, geometry))

        products = jax.jit(both_products, compiler_options=QUICK)(x, y, w)
        assert float(products[0]) == pytest.approx(float(products[1]))


@given(sizes, pairs, pairs, pairs, zeros, zeros, seeds)
def test_the_weight_gradient_as_products(size, kernel_size, stride, dilation, before, after, seed):
    padding = (before[0], after[0]), (before[1], after[1])
    geometry = Geometry(size, kernel_size, stride, padding, dilation, groups=1)
    assume(min(geometry.output_size) > 0)
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        shapes = (2, *size, 2), (2, *geometry.output_size, 3), (*kernel_size, 2, 3)
        x, y, w = (jnp.asarray(rng.normal(size=shape)) for shape in shapes)

        def both_products(x, y, w):
            back = conv_forms.rows_weight(x, y, geometry)
            assert back.shape == w.shape
            return jnp.vdot(back, w), jnp.vdot(y, conv.conv2d(x, w, geometry))

        products = jax.jit(both_products, compiler_options=QUICK)(x, y, w)
        assert float(products[0]) == pytest.approx(float(products[1]))


def input_form(in_channels, size, kernel, stride, padding=1, dilation=1, *, batch=2, dtype=jnp.float32):
    sides = [(n, n) for n in (size, kernel, stride, padding, dilation)]
    geometry = Geometry(sides[0], sides[1], sides[2], (sides[3], sides[3]), sides[4], groups=1)
    shapes = (batch, *geometry.output_size, 4), (kernel, kernel, in_channels, 4)
    y, w = (cast(jax.Array, jax.ShapeDtypeStruct(shape, dtype)) for shape in shapes)
    return conv_forms.input_form(y, w, geometry)


def test_the_form_follows_the_shape():
    form = input_form
    assert form(3, 64, 4, 2) is form(16, 64, 4, 2) is conv_forms.phases_together
    assert form(256, 8, 4, 2) is form(64, 56, 3, 2) is form(8, 56, 3, 2) is conv_forms.phases_apart
    assert form(512, 2, 3, 1) is form(1, 64, 4, 2) is form(3, 64, 3, 2) is conv_forms.folded_input
    assert form(64, 56, 3, 1) is form(64, 56, 1, 2, padding=0) is form(64, 56, 3, 2, dilation=2) is None


def other_forms(in_channels, out_channels, size, kernel):
    """The forms of the convolution and of its weight gradient."""
    geometry = Geometry((size, size), (kernel, kernel), (1, 1), ((0, 0), (0, 0)), (1, 1), groups=1)
    shapes = (2, size, size, in_channels), (kernel, kernel, in_channels, out_channels)
    x, w = (cast(jax.Array, jax.ShapeDtypeStruct(shape, jnp.float32)) for shape in shapes)
    y = cast(jax.Array, jax.ShapeDtypeStruct((2, *geometry.output_size, out_channels), jnp.float32))
    return conv_forms.forward_form(x, w, geometry), conv_forms.weight_form(x, y, geometry)


@pytest.mark.parametrize("onednn", [False, True])
def test_the_form_follows_the_library_that_convolves(onednn, monkeypatch):
    monkeypatch.setattr(conv_forms, "ONEDNN", onednn)
    products = conv_forms.patches_forward, conv_forms.rows_weight
    assert other_forms(1, 32, 28, 5) == ((None, products[1]) if onednn else (products[0], None))
    assert other_forms(3, 64, 32, 3) == ((None, products[1]) if onednn else (None, None))
    assert other_forms(1, 6, 28, 5)[1] is other_forms(3, 64, 64, 11)[1] is None
    assert other_forms(512, 256, 14, 1) == (None, products[1])
    assert other_forms(512, 512, 2, 1) == products
    assert other_forms(16, 32, 12, 5) == (None, None)


def test_float64_is_a_product_if_its_patches_fit_in_memory():
    with jax.enable_x64(True):
        assert input_form(64, 56, 3, 1, dtype=jnp.float64) is conv_forms.folded_input
        assert input_form(64, 56, 3, 1, dtype=jnp.float64, batch=1024) is None


@pytest.mark.usefixtures("forms")
@pytest.mark.parametrize("channels", [1, 3, 6, 17])
@pytest.mark.parametrize(("kernel_size", "stride"), [((11, 4), (4, 4)), ((7, 8), (2, 3)), ((4, 3), (2, 1))])
def test_large_kernels_and_strides(channels, kernel_size, stride):
    """Kernels of whole strides, nearly and not at all, whose input gradients take different forms."""
    pair = layer_pair("Conv2d", channels, 2, kernel_size, stride, (2, 1))
    x = np.random.default_rng(0).normal(size=(2, 13, 14, channels))
    assert_pair_agrees(pair, x, second=True)


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
def test_initialisation_is_torchs(name):
    """One bound for weight and bias: 1/sqrt(fan_in), torch's second axis times the kernel."""
    ours = build(name, 16, 24, (3, 2), groups=4, param_dtype=jnp.float32)
    theirs = torch_layer(name, 16, 24, (3, 2), groups=4)
    bound = 1 / math.sqrt(math.prod(theirs.weight.shape[1:]))
    for leaf in (ours.weight[...], ours.bias[...], theirs.weight.detach(), theirs.bias.detach()):
        assert 0.8 * bound < np.abs(np.asarray(leaf)).max() <= bound * (1 + 1e-6)
