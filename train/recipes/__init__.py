"""Recipes: what is trained and how, as plain values. `RECIPES` has a row for every model."""

from train.recipes.base import Capability, ImageRecipe, Question, Recipe
from train.recipes.catalogue import RECIPE_CLASSES, RECIPES, find_recipe, make_recipe
from train.recipes.generative import AutoencodeRecipe, CycleGANRecipe, GANRecipe
from train.recipes.inputs import data_kind, image_shape, load_recipe_data
from train.recipes.serialization import recipe_from_json, upgrade
from train.recipes.supervised import (
    CaptionRecipe,
    ClassifyRecipe,
    LanguageRecipe,
    ReadRecipe,
    RegressRecipe,
    RewriteRecipe,
    SequenceRecipe,
    TagRecipe,
    TransferRecipe,
)

__all__ = [
    "RECIPES", "RECIPE_CLASSES", "AutoencodeRecipe", "Capability", "CaptionRecipe", "ClassifyRecipe",
    "CycleGANRecipe", "GANRecipe", "ImageRecipe", "LanguageRecipe", "Question", "ReadRecipe", "Recipe",
    "RegressRecipe", "RewriteRecipe", "SequenceRecipe", "TagRecipe", "TransferRecipe", "data_kind",
    "find_recipe", "image_shape", "load_recipe_data", "make_recipe", "recipe_from_json", "upgrade",
]  # fmt: skip
