"""Run folders: when a folder may be used for a run, and folders that earlier versions wrote."""

import dataclasses
import json
import shutil
from typing import Any

import pytest

from tests.conftest import tiny_recipe
from tests.train.conftest import small_recipe
from tests.train.runs import states_are_equal
from train.engine.loop import train
from train.engine.run_folders import (
    ADJUSTABLE,
    prepare_workdir,
    read_meta,
    read_recipe,
    with_options_of,
    write_json,
)
from train.engine.runs import load_run
from train.optim import Adam
from train.recipes import RECIPES

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]


@pytest.fixture
def copied_run(small_run, tmp_path):
    """A copy of a finished run, which a test may change."""
    return shutil.copytree(small_run, tmp_path / "run")


def change_recipe(workdir: Any, **values: Any) -> None:
    """Changes values in recipe.json."""
    path = workdir / "recipe.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_new_folder_an_empty_one_and_the_same_run_are_fine(small_run, tmp_path):
    assert prepare_workdir(small_recipe(), tmp_path / "new", resume=True) is None
    assert not (tmp_path / "new").exists()
    assert prepare_workdir(small_recipe(), tmp_path, resume=True) is None
    assert prepare_workdir(small_recipe(), small_run, resume=True) is None


OTHER_LENGTHS: dict[str, Any] = {
    "epochs": 9, "steps": 60, "steps_per_call": 3, "checkpoint_every": 5, "sample_every": 5,
    "evaluate_every": 5, "log_every": 7, "workers": 2,
}  # fmt: skip


def test_the_length_of_a_run_and_its_reports_may_change(small_run):
    assert OTHER_LENGTHS.keys() == ADJUSTABLE
    assert prepare_workdir(small_recipe(**OTHER_LENGTHS), small_run, resume=True) is None


def test_another_recipe_is_refused_and_the_message_names_the_differences(small_run):
    with pytest.raises(ValueError, match=r"has batch_size 16 \(now 32\), seed 0 \(now 1\): give the same"):
        prepare_workdir(small_recipe(batch_size=32, seed=1), small_run, resume=True)


def test_a_run_of_another_model_is_refused(copied_run):
    change_recipe(copied_run, model="lenet")
    with pytest.raises(ValueError, match="contains a run of lenet, not of mlp_gan: choose another --workdir"):
        prepare_workdir(small_recipe(), copied_run, resume=True)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_recipe_that_cannot_be_read_is_named(copied_run, text):
    (copied_run / "recipe.json").write_text(text)
    with pytest.raises(ValueError, match=r"recipe\.json"):
        prepare_workdir(small_recipe(), copied_run, resume=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "dcgam"}, "unknown model 'dcgam': did you mean dcgan"),
        ({"colour": 1}, "unknown field 'colour' in the recipe of 'mlp_gan'"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"generator_optimizer": {"name": "Adma"}}, "cannot be read as a recipe"),
        ({"generator_optimizer": {"name": "Adam", "rate": 1}}, "cannot be read as a recipe"),
    ],
)
def test_a_recipe_of_wrong_values_is_one_value_error(copied_run, values, message):
    change_recipe(copied_run, **values)
    with pytest.raises(ValueError, match=message):
        read_recipe(copied_run)


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not a run folder"):
        prepare_workdir(small_recipe(), tmp_path, resume=True)
    with pytest.raises(ValueError, match="is not a folder: choose another --workdir"):
        prepare_workdir(small_recipe(), tmp_path / "mine.txt", resume=True)


def test_no_resume_renames_the_old_run(copied_run, tmp_path):
    assert prepare_workdir(small_recipe(), copied_run, resume=False) == tmp_path / "run-1"
    assert not copied_run.exists() and (tmp_path / "run-1" / "metrics.jsonl").exists()


def test_a_resumed_run_keeps_its_options(tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps({"model": "resnet18", "options": {"num_classes": 7}}))
    recipe = RECIPES["resnet18"]
    assert with_options_of(tmp_path, recipe).options == {"num_classes": 7}
    assert with_options_of(tmp_path / "new", recipe) is recipe


def test_the_facts_of_the_data_set_are_read_or_missed(copied_run):
    assert read_meta(copied_run) == {"classes": list("0123456789")}
    (copied_run / "data.json").write_text("{")
    with pytest.raises(ValueError, match=r"data\.json cannot be read"):
        read_meta(copied_run)
    (copied_run / "data.json").unlink()
    with pytest.raises(ValueError, match=r"has no data\.json, .*python -m train\.run --model mlp_gan"):
        read_meta(copied_run)


def test_json_appears_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "values.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "values.json", {"a": object()})
    assert json.loads((tmp_path / "values.json").read_text()) == {"a": 1}


# What earlier versions wrote, with the names of then: stream, noise, noise_features and code_features.

OPTIMIZER_JSON = """{
    "name": "Adam", "lr": 0.0002, "betas": [0.5, 0.999], "eps": 1e-08, "weight_decay": 0.0, "amsgrad": false
}"""
OLD_GAN = f"""{{
  "task": "gan", "model": "mlp_gan", "options": {{"noise_features": 100, "hidden_features": 8}},
  "dataset": "digits", "epochs": null, "steps": 6, "stop_below": null, "batch_size": 16, "seed": 0,
  "shuffle": true, "take": 64, "preprocess": [], "stream": false, "workers": 0, "checkpoint_every": null,
  "sample_every": null, "evaluate_every": null, "steps_per_call": 1, "log_every": 2, "image_size": null,
  "transforms": ["normalize:0.5:0.5"], "test_transforms": [], "loss": "half_probability", "noise": "normal",
  "critic_steps": 1, "weight_clip": null, "gradient_penalty": null, "instance_noise": null, "ema": null,
  "generator_optimizer": {OPTIMIZER_JSON}, "discriminator_optimizer": {OPTIMIZER_JSON}
}}"""
OLD_AUTOENCODER = """{
  "task": "autoencode", "model": "autoencoder", "options": {"code_features": 2}, "dataset": "digits",
  "epochs": 300, "steps": null, "stop_below": null, "batch_size": 128, "seed": 0, "shuffle": true,
  "take": null, "preprocess": [], "stream": true, "workers": 0, "checkpoint_every": null,
  "sample_every": null, "evaluate_every": null, "steps_per_call": null, "log_every": 50, "image_size": null,
  "transforms": ["normalize:0.5:0.5"], "test_transforms": ["normalize:0.5:0.5"], "loss": "sse",
  "optimizer": {
    "name": "Adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0, "amsgrad": false
  }
}"""


def recipe_of_text(text: str, folder: Any) -> Any:
    (folder / "recipe.json").write_text(text)
    return read_recipe(folder)


def test_the_recipes_of_earlier_versions_are_read(tmp_path):
    recipe = recipe_of_text(OLD_GAN, tmp_path)
    assert recipe.options == {"latent_features": 100, "hidden_features": 8}
    assert (recipe.latent_distribution, recipe.streaming, recipe.steps) == ("normal", False, 6)
    assert recipe.generator_optimizer == Adam(lr=2e-4, betas=(0.5, 0.999))
    recipe = recipe_of_text(OLD_AUTOENCODER, tmp_path)
    assert recipe.options == {"latent_features": 2} and recipe.streaming is True
    assert recipe.optimizer == Adam(lr=1e-3)
    # A recipe that is written again has the names of today.
    assert recipe_of_text(json.dumps(recipe.to_json()), tmp_path) == recipe
    assert {"stream", "noise"}.isdisjoint(recipe.to_json())


def test_an_option_of_the_step_that_an_earlier_version_did_not_have_is_off(tmp_path):
    values = RECIPES["dcgan"].to_json()
    assert values.pop("translation") == 2
    assert recipe_of_text(json.dumps(values), tmp_path) == dataclasses.replace(
        RECIPES["dcgan"], translation=None
    )


def test_a_run_of_an_earlier_version_is_loaded_and_resumed(small_run, tmp_path, data_dir):
    options = {"latent_features": 100, "hidden_features": 8}
    workdir = tmp_path / "old"
    train(small_recipe(options=options, steps=4), workdir, data_dir, quiet=True)
    (workdir / "recipe.json").write_text(OLD_GAN)
    run = load_run(workdir)
    assert run.model.generator.latent_shape == (100,) and run.sample(2).examples.shape == (2, 28, 28, 1)
    # The command line of then gave the options; the run folder gives them now.
    resumed = with_options_of(workdir, small_recipe(options={}))
    assert resumed == small_recipe(options=options)
    assert prepare_workdir(resumed, workdir, resume=True) is None
    train(resumed, workdir, data_dir, quiet=True)
    assert states_are_equal(small_run, workdir)


def test_the_flags_of_earlier_versions_still_count(tmp_path, data_dir):
    from train import run

    arguments = ["--model", "mlp_gan", "--options", "hidden_features", "8", "--noise", "uniform", "--stream"]
    lengths = ["--steps", "1", "--take", "64", "--batch-size", "16"]
    folders = ["--workdir", str(tmp_path / "run"), "--data-dir", str(data_dir)]
    run.main([*arguments, *lengths, *folders])
    recipe: Any = read_recipe(tmp_path / "run")
    assert recipe.latent_distribution == "uniform" and recipe.streaming is True


@pytest.mark.parametrize("model", RECIPES)
def test_a_written_recipe_is_read_back(model, tmp_path):
    recipe = tiny_recipe(model)
    write_json(tmp_path / "recipe.json", recipe.to_json())
    assert read_recipe(tmp_path).to_json() == recipe.to_json()
