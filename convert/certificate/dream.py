"""Compares deep dreams: `train.engine.dreaming` with a Flax model, and `torch_models.dream` with its twin.

The octaves are computed on the host by the same code. In float64 both frameworks dream from the smallest
octave to the whole picture. In float32 torch's image of each octave goes to both.

The smallest picture has two pixels per side. A picture of one pixel is flat, so the values in a window of a
max-pool are equal but for rounding, and rounding decides which of them gets the gradient.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

import torch_models.dream
from convert.certificate.calls import options_for, output_difference, to_torch_input
from convert.certificate.random_weights import random_values
from convert.certificate.result import Certificate, Check
from convert.certificate.tolerances import TOLERANCES, difference
from convert.certificate.verify import build_pair, exactly, versions
from convert.weights import to_numpy
from train.engine.dreaming import Drawing, build_dreamer, smallest_side
from train.engine.octaves import DreamSettings, dream_octaves, halve
from train.recipes import Recipe, find_recipe


def verify_dream(
    model: str, *, options: Mapping[str, Any] | None = None, recipe: Recipe | None = None,
    values: Mapping[tuple, np.ndarray] | None = None, weights: str | None = None,
    settings: DreamSettings | None = None, dtypes: Sequence[str] = ("float64", "float32"), seed: int = 0,
) -> Certificate:  # fmt: skip
    """The certificate of the dreams of a model of the catalogue and its twin, about a small random picture.

    settings: by default `DreamSettings()`. Whole dreams are compared at a small size and at the own sizes of
    the octaves, so its `size` has no effect. The other arguments are those of `verify`.
    Errors: ValueError for an unknown model, options that it does not take, a model without `features`, and a
    layer that it does not have.
    """
    recipe = recipe or find_recipe(model)
    if options is not None:
        recipe = dataclasses.replace(recipe, options=dict(options))
    settings = settings or DreamSettings()
    found = random_values(recipe, seed) if values is None else values
    checks: list[Check] = []
    layer = 0
    for dtype in dtypes:
        with exactly(dtype):
            pair = _Dreams(*build_pair(recipe, found, dtype, "eval"), model, settings, dtype, seed)
            checks += pair.checks()
            layer = len(pair.draw.dreamer.features)
    return Certificate(
        model=model, options=dict(recipe.options),
        weights=f"deep dream of layer {layer}, {weights or f'random weights, seed {seed}'}",
        steps=settings.iterations, batch=1, seed=seed, versions=versions(), checks=tuple(checks),
        layers=(), exempt=(),
    )  # fmt: skip


class _Dreams:
    """Compares the dreams of a model with those of its twin, in one dtype."""

    def __init__(
        self, flax_model: Any, torch_model: Any, name: str, settings: DreamSettings,
        dtype: str, seed: int,
    ):  # fmt: skip
        self.dtype, self.settings, self.tolerance = dtype, settings, TOLERANCES[dtype].dream
        ours = build_dreamer(flax_model, name, settings)
        self.draw = Drawing(ours, options_for(dtype))
        self.theirs = torch_models.dream.DeepDream(
            torch_model.features, len(ours.features), settings.iterations, settings.rate,
            settings.accumulate,
        )  # fmt: skip
        self.smallest = smallest_side(ours, name)
        side = max(self.smallest, 8)
        rng = np.random.default_rng(seed)
        shape = 2 * side + 1, 3 * side, 3
        self.picture = Image.fromarray(rng.integers(0, 256, shape, np.uint8))
        self.octaves = int(math.log2(shape[0])) - 1

    def checks(self) -> list[Check]:
        """All checks in the order of the table."""
        square = dataclasses.replace(self.settings, size=2 * self.smallest)
        own = dataclasses.replace(self.settings, size=None)
        return [*self._iteration(), self._dream(square), self._dream(own)]

    def _iteration(self) -> list[Check]:
        image = (np.asarray(self.picture)[None] / 255).astype(self.dtype)
        x = self.draw.dreamer.normalize(jnp.asarray(image))
        _, gradient, norms = self.draw.iterate(x, jnp.zeros_like(x))
        theirs = self.theirs.norms_and_gradient(self.theirs.normalize(to_torch_input(image)))
        names = "norm of the layer", "gradient of the image"
        return [
            self._check(f"an iteration, {name}", {"": output_difference(a, b)})
            for name, a, b in zip(names, (norms, gradient), theirs, strict=True)
        ]

    def _dream(self, settings: DreamSettings) -> Check:
        """The difference of what the networks draw in each octave."""
        settings = dataclasses.replace(settings, octaves=min(settings.octaves, self.octaves))
        pictures = halve(self.picture, settings, self.smallest)
        errors: list[float] = []

        def draw_both(image: np.ndarray) -> np.ndarray:
            theirs = self._draw_torch(image)
            errors.append(difference(self.draw(image), theirs))
            return theirs

        if self.dtype == "float32":
            for _ in dream_octaves(pictures, draw_both, settings):
                pass
        else:
            dreams = (dream_octaves(pictures, draw, settings) for draw in (self.draw, self._draw_torch))
            errors += [difference(a.drawn, b.drawn) for a, b in zip(*dreams, strict=True)]
        size = "their own sizes" if settings.size is None else f"{settings.size}x{settings.size}"
        each = ", each from torch's image" if self.dtype == "float32" else ""
        name = f"{len(pictures)} octaves at {size}{each}"
        return self._check(name, {f"octave {number}": error for number, error in enumerate(errors, 1)})

    def _draw_torch(self, image: np.ndarray) -> np.ndarray:
        drawn = self.theirs(to_torch_input(image[None].astype(self.dtype)))
        return to_numpy(drawn)[0].transpose(1, 2, 0)

    def _check(self, name: str, errors: Mapping[str, float]) -> Check:
        worst = max(errors, key=errors.__getitem__)
        return Check(self.dtype, name, errors[worst], self.tolerance, worst)
