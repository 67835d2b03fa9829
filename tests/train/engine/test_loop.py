"""The training loop: what a run folder holds, equal bits from equal seeds, and what ends a run."""

import dataclasses
import json
import shutil
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import tiny_recipe
from tests.train.conftest import small_recipe
from tests.train.runs import largest_distance, states_are_equal
from train.engine.cadence import Cadence
from train.engine.loop import DivergedError, train
from train.engine.metrics import read_metrics
from train.engine.run_folders import read_recipe
from train.engine.runs import load_run
from train.engine.steps import fast_steps_per_call
from train.optim import Adam
from train.tasks.models import build_model

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]


def test_a_run_folder_describes_itself(small_run):
    names = {path.name for path in small_run.iterdir()} - {"export"}
    assert names == {"recipe.json", "data.json", "metrics.jsonl", "checkpoints", "samples", "curves.png"}
    assert read_recipe(small_run).to_json() == small_recipe().to_json()
    records = [json.loads(line) for line in (small_run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4, 6]
    assert all(np.isfinite(record["generator_loss"]) for record in records)
    checkpoints = {path.name for path in (small_run / "checkpoints").iterdir()}
    assert checkpoints == {"4", "6"}  # after every epoch, and at the end
    with Image.open(small_run / "samples" / "samples_000006.png") as grid:
        assert grid.size == (484, 484) and len(np.unique(np.asarray(grid))) > 10


def test_the_same_seed_trains_to_the_same_bits(small_run, data_dir, tmp_path):
    train(small_recipe(), tmp_path / "again", data_dir)
    assert states_are_equal(small_run, tmp_path / "again")
    train(small_recipe(seed=1), tmp_path / "other", data_dir)
    assert not states_are_equal(small_run, tmp_path / "other")


def test_a_run_in_two_parts_ends_with_the_same_bits(small_run, data_dir, tmp_path):
    """The first part ends within an epoch."""
    workdir = tmp_path / "run"
    train(small_recipe(steps=3), workdir, data_dir)
    assert int(load_run(workdir).state.step) == 3
    train(small_recipe(), workdir, data_dir)
    assert states_are_equal(small_run, workdir)


def test_many_steps_in_one_call_are_the_same_steps(small_run, data_dir, tmp_path):
    train(small_recipe(steps_per_call=4), tmp_path / "many", data_dir)
    one, many = (load_run(path).state for path in (small_run, tmp_path / "many"))
    assert int(many.step) == 6
    assert largest_distance(one.params, many.params) < 1e-5


def test_a_call_of_many_steps_of_a_classifier_is_the_same_as_single_steps(classifier, data_dir, tmp_path):
    recipe = dataclasses.replace(read_recipe(classifier), steps_per_call=1)
    train(recipe, tmp_path / "one", data_dir)
    assert fast_steps_per_call(build_model(recipe)) > 1
    ours, theirs = (load_run(path).state for path in (tmp_path / "one", classifier))
    assert largest_distance(ours.params, theirs.params) < 1e-5


def test_a_finished_run_is_left_as_it_is(small_run, data_dir, tmp_path, capsys):
    shutil.copytree(small_run, tmp_path / "run")
    train(small_recipe(), tmp_path / "run", data_dir)
    output = capsys.readouterr().out
    assert "continuing from step 6" in output and "compiled" not in output
    assert states_are_equal(small_run, tmp_path / "run")


def test_a_quiet_run_prints_nothing(small_run, data_dir, tmp_path, capsys):
    shutil.copytree(small_run, tmp_path / "run")
    train(small_recipe(), tmp_path / "run", data_dir, quiet=True)
    assert capsys.readouterr().out == ""


def test_a_nan_stops_the_run_and_names_the_step(data_dir, tmp_path):
    recipe = small_recipe(steps=20, generator_optimizer=Adam(lr=float("inf")))
    with pytest.raises(DivergedError, match=r"loss is nan at step \d+; the last checkpoint is kept"):
        train(recipe, tmp_path / "run", data_dir)
    # The loss of a step is written before its checkpoint, so no checkpoint holds a state without numbers.
    for checkpoint in (tmp_path / "run" / "checkpoints").iterdir():
        assert int(checkpoint.name) <= 4


def test_a_damaged_checkpoint_is_skipped_and_reported(small_run, data_dir, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(small_run, workdir)
    damage(workdir, 6)
    train(small_recipe(), workdir, data_dir)
    output = capsys.readouterr().out
    assert "checkpoint 6 is damaged" in output and "continuing from step 4" in output
    assert states_are_equal(small_run, workdir)


def test_a_run_without_an_intact_checkpoint_is_not_begun_again(small_run, data_dir, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(small_run, workdir)
    damage(workdir, 4)
    damage(workdir, 6)
    with pytest.raises(ValueError, match=r"checkpoint 6 is damaged .*checkpoint 4 is damaged .*--no-resume"):
        train(small_recipe(), workdir, data_dir)
    with pytest.raises(ValueError, match="has no intact checkpoint"):
        load_run(workdir)
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"4", "6"}


def damage(workdir: Any, step: int) -> None:
    """Cuts every file of a checkpoint off."""
    for file in (workdir / "checkpoints" / str(step)).rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10])


def test_a_run_stops_at_the_first_step_below_the_loss(data_dir, tmp_path, capsys):
    recipe = dataclasses.replace(
        tiny_recipe("linear_regression", take=None, batch_size=None),
        steps=400,
        log_every=100,
        sample_every=400,
        stop_below=0.6,
    )
    train(recipe, tmp_path / "run", data_dir)
    stopped = int(load_run(tmp_path / "run").state.step)
    train(dataclasses.replace(recipe, log_every=1, stop_below=None), tmp_path / "whole", data_dir)
    losses = [record["loss"] for record in read_metrics(tmp_path / "whole")]
    assert 1 < stopped < 400 and len(losses) == 400
    assert stopped == next(step for step, loss in enumerate(losses, 1) if loss < 0.6)
    capsys.readouterr()
    train(recipe, tmp_path / "run", data_dir)  # the run is finished, and stays so
    assert int(load_run(tmp_path / "run").state.step) == stopped
    assert "compiled" not in capsys.readouterr().out
    assert (tmp_path / "run" / "samples" / f"fit_{stopped:06d}.png").exists()


def test_transforms_that_do_not_fit_leave_no_folder(tmp_path, data_dir):
    recipe = tiny_recipe("mlp_bn", transforms=("random_crop:40",))
    with pytest.raises(ValueError, match="random_crop:40 is larger than the image, 28x28"):
        train(recipe, tmp_path / "run", data_dir)
    assert not (tmp_path / "run").exists()


class FeedOf:
    """What Cadence asks of a feed."""

    def __init__(self, steps_per_epoch: int, refresh_every: int | None):
        self.steps_per_epoch, self.refresh_every = steps_per_epoch, refresh_every


def test_a_call_ends_where_something_has_to_happen():
    recipe = tiny_recipe(steps=100, log_every=30, checkpoint_every=40, sample_every=45, evaluate_every=50)
    feed: Any = FeedOf(64, None)
    cadence, step, ends = Cadence.of(recipe, feed), 0, []
    while step < cadence.total:
        step += cadence.until_next(step)
        ends.append(step)
    assert ends == [30, 40, 45, 50, 60, 80, 90, 100]
    refreshed: Any = FeedOf(64, 64)
    assert Cadence.of(recipe, refreshed).until_next(60) == 4


def test_the_defaults_of_the_cadence():
    feed: Any = FeedOf(10, None)
    cadence = Cadence.of(tiny_recipe(steps=None, epochs=30, log_every=50), feed)
    assert (cadence.total, cadence.log, cadence.checkpoint) == (
        300,
        50,
        15,
    )  # a twentieth
    assert (cadence.images, cadence.evaluate) == (30, 10)
    with pytest.raises(ValueError, match="a run needs at least one step, got 0: give epochs or steps"):
        Cadence.of(tiny_recipe(steps=None, epochs=None), feed)
