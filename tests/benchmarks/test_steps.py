"""The benchmarks of training steps and of epochs: the same work in both frameworks. No time is judged."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from benchmarks import epoch, train_step
from benchmarks.timing import interleaved
from tests.conftest import tiny_recipe
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


def test_a_step_is_timed_in_both_frameworks():
    with torch.compiler.set_stance("force_eager"):  # compilation takes a minute
        row = train_step.time_step(tiny_recipe("mlp_gan"), batch_size=4, rounds=1)
    assert (row.model, row.batch_size) == ("mlp_gan", 4)
    assert len(row.cells) == len(train_step.COLUMNS)
    assert row.ratio == min(row.eager.median, row.compiled.median) / row.flax.median


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
