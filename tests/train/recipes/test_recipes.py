"""Recipes: what each class refuses, and recipes as JSON."""

import dataclasses
import json
import math
from typing import Any

import pytest

from train.data.datasets import KINDS
from train.optim import SGD
from train.recipes import (
    RECIPE_CLASSES,
    RECIPES,
    AutoencodeRecipe,
    Capability,
    CaptionRecipe,
    ClassifyRecipe,
    CycleGANRecipe,
    GANRecipe,
    LanguageRecipe,
    ReadRecipe,
    Recipe,
    RegressRecipe,
    RewriteRecipe,
    SequenceRecipe,
    TagRecipe,
    TransferRecipe,
    find_recipe,
    make_recipe,
    recipe_from_json,
)

pytestmark = pytest.mark.jax_only

REFUSED: dict[type[Recipe], list[tuple[dict[str, Any], str]]] = {
    Recipe: [
        *(({name: 0}, f"{name} must be at least 1, got 0") for name in (
            "epochs", "steps", "batch_size", "take", "checkpoint_every", "sample_every", "evaluate_every",
            "steps_per_call", "log_every",
        )),
        ({"workers": -1}, "workers must not be negative, got -1"),
        ({"preprocess": ("standardise",)}, "unknown preprocessing 'standardise': did you mean standardize"),
    ],
    ClassifyRecipe: [
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"transforms": ("random_crops:4",)}, "unknown transform 'random_crops': did you mean random_crop"),
        ({"test_transforms": ("pad:-1",)}, "transform 'pad:-1': '-1' is not a"),
    ],
    TransferRecipe: [
        ({"options": {"trained": "trunk"}}, "the option trained is all or head, got 'trunk'"),
        ({"trunk_runs": ("a", "b")}, "the trunks are resnet18, and 2 runs are given"),
    ],
    RegressRecipe: [],
    SequenceRecipe: [({"window": 0}, "window must be at least 1, got 0")],
    LanguageRecipe: [],
    TagRecipe: [],
    RewriteRecipe: [],
    ReadRecipe: [({"transforms": ("random_crops:4",)}, "unknown transform 'random_crops'")],
    CaptionRecipe: [({"image_size": 0}, "image_size must be at least 1, got 0")],
    AutoencodeRecipe: [({"image_size": 0}, "image_size must be at least 1, got 0")],
    GANRecipe: [
        ({"stop_below": 1.0}, "and the task gan reports discriminator_loss, generator_loss"),
        ({"critic_steps": 0}, "critic_steps must be at least 1, got 0"),
        ({"critic_steps": 5, "batch_size": 4}, "batch_size 4 is less than the 5 parts of a batch"),
        ({"instance_noise": -0.1}, "instance_noise must not be negative, got -0.1"),
        ({"weight_clip": -1.0}, "weight_clip must not be negative, got -1.0"),
        ({"gradient_penalty": math.nan}, "gradient_penalty must not be negative, got nan"),
        ({"ema": 1.0}, "ema must be at least 0 and less than 1, got 1.0"),
        ({"ema": math.nan}, "ema must be at least 0 and less than 1, got nan"),
    ],
    CycleGANRecipe: [
        ({"stop_below": 1.0}, "and the task cyclegan reports adversarial_loss, cycle_loss"),
        ({"cycle_weight": -1.0}, "cycle_weight must not be negative, got -1.0"),
        ({"identity_weight": -1.0}, "identity_weight must not be negative, got -1.0"),
        ({"pool_size": -1}, "pool_size must not be negative, got -1"),
        ({"decay_after": 1.5}, "decay_after is a fraction of the run, from 0 to 1, got 1.5"),
        ({"decay_after": math.nan}, "decay_after is a fraction of the run, from 0 to 1, got nan"),
    ],
}  # fmt: skip
"""What every class refuses beside what its bases refuse: (fields, the message)."""
REFUSED_BY_CLASS = [
    (cls, fields, message)
    for cls in RECIPE_CLASSES.values()
    for fields, message in (case for base in REFUSED if issubclass(cls, base) for case in REFUSED[base])
]


def test_every_class_has_its_refusals():
    assert set(RECIPE_CLASSES.values()) == REFUSED.keys() - {Recipe}


@pytest.mark.parametrize(
    ("cls", "fields", "message"), REFUSED_BY_CLASS, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_recipe_refuses_what_no_run_can_have(cls, fields, message):
    cls(model="any", dataset="any")  # without the fields it is accepted
    with pytest.raises(ValueError) as error:
        cls(model="any", dataset="any", **fields)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_changed_recipe_is_checked_too():
    with pytest.raises(ValueError, match="steps must be at least 1, got -3"):
        dataclasses.replace(RECIPES["dcgan"], steps=-3)


@pytest.mark.parametrize("model", [m for m, recipe in RECIPES.items() if "loss" in recipe.losses])
def test_stop_below_is_possible_where_a_step_reports_the_loss(model):
    assert dataclasses.replace(RECIPES[model], stop_below=0.5).stop_below == 0.5


def test_recipes_survive_json():
    for recipe in RECIPES.values():
        values = json.loads(json.dumps(recipe.to_json()))
        assert recipe_from_json(values, recipe) == recipe
    with pytest.raises(ValueError, match="unknown field 'colour'"):
        recipe_from_json({"model": "dcgan", "colour": 1}, RECIPES["dcgan"])


@pytest.mark.parametrize("cls", RECIPE_CLASSES.values(), ids=RECIPE_CLASSES)
def test_a_class_declares_what_its_task_is(cls):
    assert cls.kinds and set(cls.kinds) <= KINDS.keys()
    assert cls.losses and cls.capabilities <= set(Capability)
    assert bool(cls.question.arguments) == (Capability.ANSWER in cls.capabilities)
    assert {*cls.question.required, *cls.question.example} <= set(cls.question.arguments)
    names = {field.name for field in dataclasses.fields(cls)}
    assert set(cls.step_fields) <= names
    assert cls(model="any", dataset="any").step_options.keys() == set(cls.step_fields)


def test_a_missing_capability_is_an_error_that_says_what_is_possible():
    with pytest.raises(ValueError) as error:
        RECIPES["lenet"].require_capability(Capability.SAMPLE)
    assert str(error.value) == (
        "lenet (task classify) cannot sample; it can answer questions, classify, predict from arrays"
    )
    with pytest.raises(ValueError, match=r"runs/x: dcgan \(task gan\) cannot tra"):
        RECIPES["dcgan"].require_capability(Capability.TRANSLATE, "runs/x")
    for recipe in RECIPES.values():
        for capability in recipe.capabilities:
            recipe.require_capability(capability)


def test_a_recipe_on_another_data_set_has_the_values_of_that_set():
    recipe: Any = RECIPES["cyclegan"].on("folders:horses,zebras")
    assert (recipe.dataset, recipe.image_size, recipe.epochs) == ("folders:horses,zebras", 256, 200)
    assert RECIPES["cyclegan"].on("photo_patches").epochs == RECIPES["cyclegan"].epochs


def test_a_recipe_for_a_model_of_ones_own():
    recipe: Any = make_recipe("my.module:Model", "classify", "digits", optimizer=SGD(lr=0.5))
    assert isinstance(recipe, ClassifyRecipe)
    assert (recipe.epochs, recipe.optimizer) == (10, SGD(lr=0.5))
    assert make_recipe("my.module:Model", "classify", "digits", steps=3).epochs is None
    with pytest.raises(ValueError, match="unknown task 'clasify': did you mean classify"):
        make_recipe("my.module:Model", "clasify", "digits")


def test_an_unknown_model_is_an_error_with_near_matches():
    with pytest.raises(ValueError, match=r"unknown model 'lenet6': did you mean .*lenet5"):
        find_recipe("lenet6")
