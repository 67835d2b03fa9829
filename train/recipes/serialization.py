"""Reads recipes from JSON, also those that earlier versions wrote."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from train.optim import OPTIMIZERS, Optimizer
from train.recipes.base import Recipe

# Names that earlier versions wrote into recipe.json -> the current names.
RENAMED_FIELDS = {"stream": "streaming", "noise": "latent_distribution"}
RENAMED_OPTIONS = {"noise_features": "latent_features", "code_features": "latent_features"}


def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a recipe.json with the current names of fields and options."""
    renamed = {RENAMED_FIELDS.get(name, name): value for name, value in values.items()}
    if isinstance(renamed.get("options"), Mapping):
        options = renamed["options"].items()
        renamed["options"] = {RENAMED_OPTIONS.get(name, name): value for name, value in options}
    return renamed


def recipe_from_json(values: Mapping[str, Any], base: Recipe) -> Recipe:
    """The recipe that `Recipe.to_json` wrote.

    base: the recipe whose values are used for the fields that are not among `values`. A missing field of the
    training step did not exist when the run was made, so it has the default of its class.
    Errors: ValueError for an unknown field, and for a value that the recipe refuses.
    """
    known = {f.name for f in dataclasses.fields(base)}
    fields: dict[str, Any] = {
        f.name: f.default for f in dataclasses.fields(base) if f.name in base.step_fields
    }
    for name, value in upgrade(values).items():
        if name == "task":
            continue
        if name not in known:
            raise ValueError(f"unknown field {name!r} in the recipe of {values.get('model')!r}")
        if isinstance(getattr(base, name), Optimizer):
            arguments = {key: _as_tuple(argument) for key, argument in value.items() if key != "name"}
            value = OPTIMIZERS[value["name"]](**arguments)
        fields[name] = _as_tuple(value)
    return dataclasses.replace(base, **fields)


def _as_tuple(value: Any) -> Any:
    """Converts a JSON list to the tuple that recipes use; other values are returned unchanged."""
    return tuple(value) if isinstance(value, list) else value
