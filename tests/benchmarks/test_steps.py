"""The benchmarks of training steps and of epochs: the same work in both frameworks. No time is judged."""

import dataclasses
import json
import sys

import jax
import numpy as np
import pytest

from benchmarks import epoch, tables, train_step
from benchmarks.timing import interleaved
from benchmarks.workers.process import Worker, WorkerError
from convert.pages import write_section
from convert.twins import TWINS
from train.recipes import RECIPES

pytestmark = pytest.mark.standard_promotion("training runs under jax's default promotion")


def test_contenders_take_turns_and_the_first_call_of_a_turn_does_not_count():
    called = []
    contenders = {"a": lambda: called.append("a"), "b": lambda: called.append("b")}
    assert interleaved(contenders, rounds=2, calls=2, warmup=1).keys() == {"a", "b"}
    assert "".join(called) == "ab" + "aaabbb" * 2


def test_a_timing_is_the_median_between_its_quartiles():
    timing = interleaved({"nothing": lambda: None}, rounds=5)["nothing"]
    assert 0 <= timing.low <= timing.median <= timing.high
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        interleaved({"nothing": lambda: None}, rounds=0)


@pytest.fixture(scope="module")
def measured():
    """The results of a small model: eager torch only, because compilation takes a minute."""
    options = dict(TWINS["mlp_gan"].tiny)
    return train_step.measure("mlp_gan", 4, rounds=1, options=options, compiled=False)


def test_a_step_and_forward_passes_are_timed_in_both_frameworks(measured):
    flax = f"jax {jax.__version__}"
    times = measured["milliseconds"]
    assert times["step"].keys() == {flax, "torch eager"}
    assert times["forward 1"].keys() == times["forward 64"].keys() == {flax, "torch"}
    assert all(0 < low <= median <= high for of in times.values() for median, low, high in of.values())
    assert measured["memory"].keys() == {flax, "torch"}


def test_the_tables_have_every_row(measured, tmp_path):
    slow = {"jax 1": [3.0, 2.0, 4.0], "torch eager": [2.0, 1.0, 3.0], "torch.compile": [1.5, 1.0, 2.0]}
    steps = [(measured["model"], measured), ("lenet", {**measured, "model": "lenet"})]
    steps[1][1]["milliseconds"] = {
        "step": slow, "forward 1": {"jax 1": [1, 1, 1], "torch": [2, 2, 2]},
        "forward 64": {"jax 1": [1, 1, 1], "torch": [4, 4, 4]},
    }  # fmt: skip
    assert tables.ratios(steps[1][1], "step") == {"jax 1": 0.5}
    text = tables.markdown([result for _, result in steps])
    assert "| jax 1 | step | 0.50 (lenet) | 0.50 (lenet) | 0.50 | 0 of 1 |" in text
    assert all(text.count(f"\n| {name} |") == 3 for name, _ in steps)
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- table -->\nold\n<!-- end -->\nafter\n")
    write_section(page, text)
    assert page.read_text() == f"Before\n<!-- table -->\n{text}<!-- end -->\nafter\n"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no lines <!-- table -->"):
        write_section(page, text)
    assert page.read_text() == "nothing"


def test_a_worker_that_stops_says_why():
    with (
        pytest.raises(WorkerError, match="KeyError: 'other'"),
        Worker(sys.executable, "flax_worker") as worker,
    ):
        worker.ask("other")


def test_a_step_of_an_unknown_model_is_an_error_with_near_matches():
    with pytest.raises(ValueError, match="did you mean dcgan"):
        train_step.main(["--model", "dcgam"])


def test_an_epoch_has_the_same_steps_in_both_frameworks(tmp_path):
    recipe = dataclasses.replace(RECIPES["ngram_lm"], options={"hidden_features": 8})
    ours, theirs, feed, steps = epoch.contenders(recipe, tmp_path)
    assert steps == feed.steps_per_epoch == 113
    means = []
    for _ in range(2):
        losses = np.asarray(ours()["loss"])
        np.testing.assert_allclose(losses, theirs()["loss"].numpy(), rtol=1e-4, atol=1e-5)
        means.append(losses.mean())
    assert means[1] < means[0]  # both continue, and train


def test_the_command_of_epochs_writes_its_table(tmp_path, capsys):
    folders = ["--data-dir", str(tmp_path), "--json", str(tmp_path / "table.json")]
    epoch.main(["--model", "linear_regression", "--rounds", "1", *folders])
    assert capsys.readouterr().out.splitlines()[-1].startswith("| linear_regression | 1 | 50 |")
    (row,) = json.loads((tmp_path / "table.json").read_text())
    assert row["ratio"] == min(row["torch"][0], row["torch_one_thread"][0]) / row["flax"][0]
    with pytest.raises(ValueError, match="unknown model with many steps in a dispatch 'dcgan'"):
        epoch.main(["--model", "dcgan"])
