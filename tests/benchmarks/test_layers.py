"""The benchmark of layers covers every layer, with the same work in both frameworks. No time is judged."""

import json
from typing import Any

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from benchmarks import layers as layers_benchmark
from benchmarks.common import torch_tensor
from benchmarks.layer_cases import CASES, Case
from convert.layouts import activation_layout
from convert.weights import to_numpy
from flax_models import layers

NOTHING_TO_TIME = {"Flatten", "Identity", "Sequential", "Unflatten", "init"}
TINY = [
    Case("Conv2d", (2, 6, 6, 3), (3, 4, 3), {"padding": 1}),
    Case("BatchNorm2d", (3, 4, 4, 2), (2,), {}),
    Case("MaxPool2d", (2, 4, 4, 3), (2,), {}),
    Case("LSTM", (4, 2, 3), (3, 5), {}),
    Case("Embedding", (2, 3), (7, 4), {}),
]


def test_the_cases_cover_every_layer():
    assert {case.kind for case in CASES.values()} == set(layers.__all__) - NOTHING_TO_TIME


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_the_same_layer_in_both_frameworks(name):
    case = CASES[name]
    x = layers_benchmark.draw_input(case)
    ours = jax.tree.leaves(nnx.eval_shape(lambda: layers_benchmark.flax_layer(case)(x)))
    with torch.device("meta"):
        layer = layers_benchmark.torch_layer(case)
    theirs = jax.tree.leaves(layer(torch_tensor(x, "meta")))
    assert [activation_layout(y).torch_shape(y.shape) for y in ours] == [tuple(y.shape) for y in theirs]


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.kind)
def test_both_frameworks_compute_the_same(case):
    ours: Any
    theirs: Any
    ours, theirs = layers_benchmark.timed_calls(case)
    assert list(ours) == list(theirs)
    outputs, gradients = ours["together"]()
    their_outputs, their_gradients = theirs["together"]()
    assert_equal(outputs[0], their_outputs)
    assert_equal_norms(gradients, their_gradients)
    assert_equal(ours["forward"]()[0], theirs["forward"]())
    if "input gradient" in ours:
        assert_equal([ours["input gradient"]()], theirs["input gradient"]())
    if "weight gradient" in ours:
        assert_equal_norms(ours["weight gradient"](), theirs["weight gradient"]())


def assert_equal(ours: Any, theirs: Any) -> None:
    """The outputs are equal in torch's layout."""
    for y, expected in zip(ours, jax.tree.leaves(theirs), strict=True):
        y = activation_layout(y).to_torch(np.asarray(y))
        np.testing.assert_allclose(y, to_numpy(expected), rtol=1e-4, atol=1e-5)


def assert_equal_norms(ours: Any, theirs: Any) -> None:
    """The gradients of weights, whose layouts differ, have equal norms, which are not 0."""
    sizes = [
        np.sqrt(sum(float((np.asarray(leaf) ** 2).sum()) for leaf in jax.tree.leaves(side)))
        for side in (ours, jax.tree.map(to_numpy, list(theirs)))
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-4) and sizes[1] > 0


def test_the_command_writes_its_table(capsys, tmp_path):
    path = tmp_path / "table.json"
    layers_benchmark.main(["--layer", "fashion_mlp", "--rounds", "1", "--json", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[2] for line in lines if "Linear(784, 512)" in line] == [
        "forward", "input gradient", "weight gradient", "together"
    ]  # fmt: skip
    assert lines[-1].startswith("Under 0.8: ")
    rows = json.loads(path.read_text())
    assert len(rows) == 4 and rows[0]["name"] == "fashion_mlp" and rows[0]["shape"] == [64, 784]
    assert all(row["ratio"] == row["torch"][0] / row["flax"][0] for row in rows)


def test_cases_by_the_kind_of_layer():
    found = layers_benchmark.find_cases("Conv2d")
    assert {case.kind for case in found.values()} == {"Conv2d"}
    assert layers_benchmark.find_cases("all") == CASES
    assert layers_benchmark.find_cases("lenet_1") == {"lenet_1": CASES["lenet_1"]}


@pytest.mark.parametrize(
    ("name", "near"), [("conv2d", "Conv2d"), ("alexnet_", "alexnet_1"), ("fashion_mpl", "fashion_mlp")]
)
def test_an_unknown_layer_is_an_error_with_near_matches(name, near):
    with pytest.raises(ValueError, match=f"unknown layer '{name}': did you mean .*{near}"):
        layers_benchmark.main(["--layer", name])
