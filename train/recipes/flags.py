"""The flags of `train.run` that give a recipe."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from train.recipes.base import Recipe
from train.recipes.catalogue import find_recipe

NO_FLAGS = ("model", "dataset", "expect", "overrides")
"""The fields that have no flag, and those that select the recipe."""


def flags_of(recipe: Recipe) -> list[str]:
    """The flags that give this recipe of a model of the catalogue: those of fields that differ from its row.

    Errors: ValueError for a recipe that no flags give, such as one with another class of optimizer.
    """
    base = find_recipe(recipe.model)
    flags = ["--model", recipe.model]
    if recipe.dataset != base.dataset:
        base = base.on(recipe.dataset)
        flags += ["--dataset", recipe.dataset]
    for field in dataclasses.fields(recipe):
        value, default = getattr(recipe, field.name), getattr(base, field.name)
        replaced = field.name == "steps" and value is None  # --epochs replaces the steps of a row
        if field.name not in NO_FLAGS and value != default and not replaced:
            flags += _flags(f"--{field.name.replace('_', '-')}", value, default)
    return flags


def _flags(name: str, value: Any, default: Any) -> Iterator[str]:
    """The words of the command line that set one field, or the fields of a dataclass that differ."""
    if dataclasses.is_dataclass(value):
        if type(value) is not type(default):
            raise ValueError(f"no flag gives {name.removeprefix('--')} the class {type(value).__name__}")
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name), getattr(default, field.name)
            if inner[0] != inner[1]:
                yield from _flags(f"{name}.{field.name.replace('_', '-')}", *inner)
    elif isinstance(value, bool):
        stem, _, last = name.removeprefix("--").rpartition(".")
        stem = f"{stem}." if stem else ""
        yield name if value else f"--{stem}no-{last}"
    else:
        yield name
        words = [word for item in value.items() for word in item] if isinstance(value, Mapping) else value
        yield from map(str, words if isinstance(words, list | tuple) else [words])
