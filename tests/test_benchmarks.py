"""The benchmarks: that they run, on the same work on both sides. No timing is judged."""

import json

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from benchmarks import layers as layers_benchmark
from benchmarks import train_step
from benchmarks.common import torch_tensor
from benchmarks.timing import interleaved
from convert.layouts import activation
from convert.weights import to_numpy
from flax_models import layers
from tests.conftest import tiny_recipe

CASES, Case = layers_benchmark.CASES, layers_benchmark.Case
RESHAPES = {"Flatten", "Identity", "Sequential", "Unflatten", "init"}  # nothing to time
TINY = [
    Case("Conv2d", (2, 6, 6, 3), (3, 4, 3), {"padding": 1}),
    Case("BatchNorm2d", (3, 4, 4, 2), (2,), {}),
    Case("MaxPool2d", (2, 4, 4, 3), (2,), {}),
    Case("LSTM", (4, 2, 3), (3, 5), {}),
    Case("Embedding", (2, 3), (7, 4), {}),
]


def test_the_table_covers_every_layer():
    assert {case.kind for case in CASES.values()} == set(layers.__all__) - RESHAPES


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_the_same_layer_on_both_sides(name):
    case = CASES[name]
    x = layers_benchmark.draw_input(case)
    ours = jax.tree.leaves(nnx.eval_shape(lambda: layers_benchmark.our_layer(case)(x)))
    with torch.device("meta"):
        layer = layers_benchmark.their_layer(case)
    theirs = jax.tree.leaves(layer(torch_tensor(x, "meta")))
    assert [activation(y).torch_shape(y.shape) for y in ours] == [tuple(y.shape) for y in theirs]


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.kind)
def test_both_sides_compute_the_same(case):
    ours, theirs = layers_benchmark.timed_calls(case)
    assert list(ours) == list(theirs)
    outputs, gradients = ours["together"]()
    their_outputs, their_gradients = theirs["together"]()
    same(outputs[0], their_outputs)
    same_norm(gradients, their_gradients)
    same(ours["forward"]()[0], theirs["forward"]())
    if "input gradient" in ours:
        same([ours["input gradient"]()], theirs["input gradient"]())
    if "weight gradient" in ours:
        same_norm(ours["weight gradient"](), theirs["weight gradient"]())


def same(ours, theirs):
    for y, expected in zip(ours, jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(
            activation(y).to_torch(np.asarray(y)), to_numpy(expected), rtol=1e-4, atol=1e-5
        )


def same_norm(ours, theirs):
    """Of weights, whose layout differs."""
    sizes = [
        np.sqrt(sum(float((np.asarray(leaf) ** 2).sum()) for leaf in jax.tree.leaves(side)))
        for side in (ours, jax.tree.map(to_numpy, list(theirs)))
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-4)


def test_layers_command(capsys, tmp_path):
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


def test_layers_by_kind():
    assert all(case.kind == "Conv2d" for case in layers_benchmark.find_cases("Conv2d").values())
    assert layers_benchmark.find_cases("all") == CASES


@pytest.mark.parametrize(
    ("name", "near"), [("conv2d", "Conv2d"), ("alexnet_", "alexnet_1"), ("fashion_mpl", "fashion_mlp")]
)
def test_unknown_layer(name, near):
    with pytest.raises(ValueError, match=f"unknown layer '{name}': did you mean .*{near}"):
        layers_benchmark.main(["--layer", name])


def test_no_rounds():
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        interleaved({"nothing": lambda: None}, rounds=0)


def test_contenders_take_turns_and_the_first_call_of_a_turn_does_not_count():
    called = []
    contenders = {"a": lambda: called.append("a"), "b": lambda: called.append("b")}
    assert interleaved(contenders, rounds=2, calls=2, warmup=1).keys() == {"a", "b"}
    assert "".join(called) == "ab" + "aaabbb" * 2


def test_train_step():
    with torch.compiler.set_stance("force_eager"):  # compiling takes a minute
        row = train_step.time_step(tiny_recipe(), batch_size=4, rounds=1)
    assert (row.model, row.batch_size) == ("dcgan", 4)
    assert len(row.cells) == len(train_step.COLUMNS)


def test_train_step_of_an_unknown_model():
    with pytest.raises(ValueError, match="did you mean dcgan"):
        train_step.main(["--model", "dcgam"])
