"""Compares one model with its twin.

`verify` compares, in float64 and float32: all outputs in evaluation and training mode, the buffers that
training changes, all gradients, and 20 optimizer steps in lockstep with the PyTorch reference step.
"""

import dataclasses
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import torch_models
from convert.certificate.calls import Comparison, Errors, as_dtype, compare_call
from convert.certificate.exempt import exempt_leaves
from convert.certificate.lockstep import Lockstep, run_lockstep
from convert.certificate.random_weights import random_values
from convert.certificate.result import Certificate, Check, Layer
from convert.certificate.tolerances import TOLERANCES
from convert.twins import Twin, child_of, find_twin
from convert.weights import flat_variables, to_torch
from train.recipes import Recipe, find_recipe
from train.tasks.models import abstract_model

NUM_STEPS, BATCH_SIZE = 20, 16
# A gradient jumps if an activation crosses the kink of a function such as ReLU, and if another value becomes
# the largest of a pooling window. In float32 rounding can cause such a jump. The check of float32 gradients
# is therefore repeated with new random inputs until it passes, up to MAX_TRIES times in all. An error in the
# code would fail every time; a jump does not. In float64 the check is made once.
MAX_TRIES = 3
MOST_AT_ONCE = 50_000_000  # parameters of a model that is compared in several dtypes at the same time


class Subject(NamedTuple):
    """A model to compare.

    values: its arrays by path. optimizers: the optax states from which the steps start.
    """

    recipe: Recipe
    values: Mapping[tuple, np.ndarray]
    optimizers: Mapping[str, Any] | None = None


def verify(
    model: str, *, recipe: Recipe | None = None, options: Mapping[str, Any] | None = None,
    values: Mapping[tuple, np.ndarray] | None = None, optimizers: Mapping[str, Any] | None = None,
    weights: str | None = None, dtypes: Sequence[str] = ("float64", "float32"),
    steps: int = NUM_STEPS, batch: int = BATCH_SIZE, seed: int = 0,
) -> Certificate:  # fmt: skip
    """The certificate of a model of the catalogue and its twin.

    recipe: by default the recipe of the model's row. options: the options of the model; by default those of
    the recipe. values: the arrays of a trained model by path; without them every leaf is random. optimizers:
    the optax states from which the training steps start. weights: how the certificate describes the weights.
    dtypes: the dtypes to compare in. steps, batch: the number of training steps, and their batch size. seed:
    the seed of random weights and inputs. The training steps of a large model use its small variant, with
    random weights.

    Errors: ValueError for an unknown model, and for options that it does not take.
    """
    recipe = recipe or find_recipe(model)
    if options is not None:
        recipe = dataclasses.replace(recipe, options=dict(options))
    twin = find_twin(model, recipe.options)
    subject = Subject(recipe, random_values(recipe, seed) if values is None else values, optimizers)
    stepped = subject
    if twin.large and dict(recipe.options) != twin.small(recipe.options):
        small = dataclasses.replace(recipe, options=twin.small(recipe.options))
        stepped = Subject(small, random_values(small, seed))

    def verifier(dtype: str) -> _Verifier:
        return _Verifier(subject, stepped, twin, dtype, steps, batch, seed)

    def compare(dtype: str) -> list[Check]:
        with exactly(dtype):
            return verifiers[dtype].checks()

    verifiers = {dtype: verifier(dtype) for dtype in dtypes}
    numbers = sum(array.size for array in subject.values.values())
    # While one dtype compiles, the other computes. Both dtypes of a very large model may not fit in memory.
    with ThreadPoolExecutor(len(dtypes) if numbers < MOST_AT_ONCE else 1) as pool:
        checks = [check for found in pool.map(compare, dtypes) for check in found]
    return Certificate(
        model=model, options=dict(recipe.options), weights=weights or f"random weights, seed {seed}",
        steps=steps, batch=batch, seed=seed, versions=versions(), checks=tuple(checks),
        layers=tuple(layer for one in verifiers.values() for layer in one.layers),
        exempt=verifiers[dtypes[-1]].step_exempt,
    )  # fmt: skip


@contextmanager
def exactly(dtype: str) -> Iterator[None]:
    """A context in which jax computes a comparison: in this dtype, on the CPU, with the highest precision."""
    with (
        jax.enable_x64(dtype == "float64"),
        jax.default_matmul_precision("highest"),
        jax.default_device(jax.local_devices(backend="cpu")[0]),
    ):
        yield


def build_pair(
    recipe: Recipe, values: Mapping[tuple, np.ndarray], dtype: str, mode: str, seed: int = 0
) -> tuple[Any, Any]:
    """The model of a recipe and its twin with the same weights.

    values: the arrays by path. dtype: that of the floats of both. mode: "train" or "eval". seed: of the
    random numbers of the Flax model.
    """
    flax_model = abstract_model(recipe)
    for path, variable in flat_variables(flax_model).items():
        variable.set_value(jnp.asarray(as_dtype(values[path], dtype)))
    for number, rng_state in enumerate(nnx.to_flat_state(nnx.state(flax_model, nnx.RngState)).leaves):
        key = jax.random.fold_in(jax.random.key(seed), number)
        rng_state.set_value(key if isinstance(rng_state, nnx.RngKey) else jnp.zeros((), jnp.uint32))
    torch_model = torch_models.MODELS[recipe.model](**recipe.options).to(getattr(torch, dtype))
    to_torch(flax_model, torch_model)
    for model in (flax_model, torch_model):
        model.train() if mode == "train" else model.eval()
    return flax_model, torch_model


def versions() -> dict[str, str]:
    """The versions of the packages, of Python and of the machine that computed a certificate."""
    from importlib.metadata import version

    packages = {name: version(name) for name in ("jax", "flax", "optax", "torch", "numpy")}
    return {**packages, "python": platform.python_version(), "machine": platform.machine()}


class _Verifier:
    """Compares one model with its twin in one dtype.

    stepped: the model that takes the training steps; for a large model it is the small variant.
    """

    def __init__(
        self, subject: Subject, stepped: Subject, twin: Twin, dtype: str, steps: int, batch: int, seed: int
    ):
        self.subject, self.stepped, self.twin, self.dtype = subject, stepped, twin, dtype
        self.steps, self.batch, self.seed = steps, batch, seed
        self.tolerances = TOLERANCES[dtype]
        self.layers: list[Layer] = []
        self.exempt, self.step_exempt = (_exempt_of(one.recipe) for one in (subject, stepped))

    def checks(self) -> list[Check]:
        """All checks in the order of the table."""
        checks = []
        modes = ("eval", "train")
        if self.dtype == "float32" and self.twin.large:
            # A large model has millions of activations, so for any input some activations are at a kink. Its
            # norms also amplify rounding: torch's own gradients in float32 differ from those in float64 by
            # more than the tolerance.
            modes = ("eval",)
        for mode in modes:
            results = self._compare_calls(mode, attempt=0)
            outputs = {child or "output": result.outputs for child, result in results.items()}
            checks.append(self._check(f"forward, {mode}", outputs, self.tolerances.forward))
            if mode == "train":
                checks += self._training_checks(results)
        return checks + self._lockstep_checks()

    def _compare_calls(self, mode: str, attempt: int) -> dict[str, Comparison]:
        """{child: its comparison} of every child in `Twin.examples`."""
        flax_model, torch_model = self._pair(self.subject, mode)
        rng = np.random.default_rng([self.seed, attempt])
        results = {}
        for child, examples in self.twin.examples.items():
            inputs = [as_dtype(example.draw(rng, self.batch), self.dtype) for example in examples]
            results[child] = compare_call(
                child_of(flax_model, child), child_of(torch_model, child), inputs,
                gradients=mode == "train", seed=self.seed,
            )  # fmt: skip
        return results

    def _training_checks(self, results: dict[str, Comparison]) -> list[Check]:
        buffers = {}
        for child, result in results.items():
            forward, backward = _below(child, result.layers), _below(child, result.parameters)
            for name in dict.fromkeys((*forward, *backward)):
                self.layers.append(Layer(self.dtype, name, forward.get(name), backward.get(name)))
            buffers |= _below(child, result.buffers)
        check, tries = self._check("gradients", self._gradients(results), self.tolerances.gradient), 1
        while not check.passed and self.dtype == "float32" and tries < MAX_TRIES:
            again = self._compare_calls("train", attempt=tries)
            tries += 1
            name = f"gradients, try {tries} with new inputs"
            check = self._check(name, self._gradients(again), self.tolerances.gradient)
        return [check] + ([self._check("buffers", buffers, self.tolerances.forward)] if buffers else [])

    def _gradients(self, results: dict[str, Comparison]) -> Errors:
        """{leaf: error} of the gradients of inputs and parameters.

        A gradient that is exactly zero is computed as a sum of large terms that cancel, so its rounding error
        is proportional to these terms. The error of an exempt leaf is therefore relative to the gradient of
        the weight of the same layer.
        """
        errors: Errors = {}
        for child, result in results.items():
            errors[_dotted(child, "inputs")] = result.inputs
            for name, error in result.parameters.items():
                weight = f"{name.rpartition('.')[0]}.weight"
                if _dotted(child, name) in self.exempt:
                    error *= max(1, result.largest[name]) / max(1, result.largest[weight])
                errors[_dotted(child, name)] = error
        return errors

    def _lockstep_checks(self) -> list[Check]:
        tolerance = self.tolerances.steps
        found, free = self._lockstep(free=tolerance is not None), tolerance is not None
        if tolerance is not None and max(found.losses, *self._compared(found.leaves).values()) > tolerance:
            again = self._lockstep(free=False, drift=True)
            if max(self._compared(again.drift).values()) > tolerance / 10:  # the model is chaotic
                found, free = again, False
        steps = f"{self.steps} steps" + ("" if self.stepped is self.subject else " of the small variant")
        steps += "" if free else ", each from torch's state"
        checks = [self._check(f"{steps}, losses", {"": found.losses}, self.tolerances.losses)]
        if tolerance is not None:
            compared = self._compared(found.leaves)
            parts = {
                "parameters and buffers": {n: e for n, e in compared.items() if ":" not in n},
                "optimizer state": {n: e for n, e in compared.items() if ":" in n},
            }
            checks += [
                self._check(f"{steps}, {part}", errors, tolerance)
                for part, errors in parts.items()
                if errors  # SGD without momentum has no state
            ]
        return checks

    def _lockstep(self, *, free: bool, drift: bool = False) -> Lockstep:
        flax_model, torch_model = self._pair(self.stepped, "train")
        recipe = self.stepped.recipe
        examples = find_twin(recipe.model, recipe.options).batch
        return run_lockstep(
            recipe, flax_model, torch_model, examples, steps=self.steps, batch=self.batch, seed=self.seed,
            free=free, leaves=self.tolerances.steps is not None, drift=drift,
            optimizers=self.stepped.optimizers,
        )  # fmt: skip

    def _compared(self, errors: Errors) -> Errors:
        """The errors without those of the exempt leaves."""
        return {name: error for name, error in errors.items() if name.split(":")[0] not in self.step_exempt}

    def _pair(self, subject: Subject, mode: str) -> tuple[nnx.Module, torch.nn.Module]:
        return build_pair(subject.recipe, subject.values, self.dtype, mode, self.seed)

    def _check(self, name: str, errors: Errors, tolerance: float) -> Check:
        worst = max(errors, key=errors.__getitem__)
        return Check(self.dtype, name, errors[worst], tolerance, worst)


def _below(child: str, errors: Errors) -> Errors:
    return {_dotted(child, name): error for name, error in errors.items()}


def _dotted(child: str, name: str) -> str:
    return f"{child}.{name}" if child else name


def _exempt_of(recipe: Recipe) -> tuple[str, ...]:
    """The exempt leaves of the recipe's torch model."""
    with torch.device("meta"):
        return exempt_leaves(torch_models.MODELS[recipe.model](**recipe.options))
