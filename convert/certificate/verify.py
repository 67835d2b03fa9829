"""verify: one model and its twin compared, as a certificate for people and for machines.

In float64 and float32: every output in evaluation and training mode, the buffers that training changes, every
gradient, and 20 optimizer steps in lockstep with the PyTorch reference step.
"""

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import torch_models
from convert.certificate.calls import Comparison, Errors, as_dtype, compare_call
from convert.certificate.exempt import exempt_leaves
from convert.certificate.lockstep import run_lockstep
from convert.certificate.random_weights import random_values
from convert.certificate.result import Certificate, Check, Layer
from convert.certificate.tolerances import TOLERANCES
from convert.twins import Twin, child_of, find_twin
from convert.weights import flat_variables, to_torch
from train.recipes import Recipe, find_recipe
from train.tasks.models import abstract_model

NUM_STEPS, BATCH_SIZE = 20, 16
# A gradient jumps where an activation crosses a kink, and where two values in a pooling window change places.
# In float32 rounding may cause that. There a check of the gradients is repeated with other inputs, up to this
# many times: a jump is not in all of them, and a wrong meaning is. In float64 the first inputs decide.
# A large model has millions of activations, and some of them lie at a kink whatever the inputs are; its norms
# multiply rounding too, so that torch's own float32 differs from its float64 by more than is allowed. In
# float32 a large model is compared in evaluation mode alone, and step by step.
MAX_TRIES = 3


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

    recipe, options: the recipe and the options of the model; by default those of its row. values: the arrays
    of a trained model by path; without them every leaf is random. optimizers: the optax states from which the
    steps start. A large model takes the steps with its small variant, on random weights.
    weights: what the certificate says of the origin of the weights. dtypes: what is compared.
    steps, batch, seed: of the training steps; of weights and inputs.

    Errors: ValueError for an unknown model or options that it does not take.
    """
    recipe = recipe or find_recipe(model)
    if options is not None:
        recipe = dataclasses.replace(recipe, options=dict(options))
    twin = find_twin(model, recipe.options)
    subject = Subject(recipe, random_values(recipe, seed) if values is None else values, optimizers)
    stepped = subject
    if twin.large and dict(recipe.options) != dict(twin.tiny):
        small = dataclasses.replace(recipe, options=dict(twin.tiny))
        stepped = Subject(small, random_values(small, seed))
    checks: list[Check] = []
    layers: list[Layer] = []
    exempt: tuple[str, ...] = ()
    cpu = jax.local_devices(backend="cpu")[0]
    for dtype in dtypes:
        with (
            jax.enable_x64(dtype == "float64"),
            jax.default_matmul_precision("highest"),
            jax.default_device(cpu),
        ):
            new = _Comparison(subject, stepped, twin, dtype, steps, batch, seed)
            checks += new.checks()
            layers += new.layers
            exempt = new.step_exempt
    return Certificate(
        model=model, options=dict(recipe.options), weights=weights or f"random weights, seed {seed}",
        steps=steps, batch=batch, seed=seed, versions=versions(), checks=tuple(checks),
        layers=tuple(layers), exempt=exempt,
    )  # fmt: skip


def versions() -> dict[str, str]:
    """The versions of the packages to which the numbers of a certificate belong."""
    from importlib.metadata import version

    packages = {name: version(name) for name in ("jax", "flax", "optax", "torch", "numpy")}
    return {**packages, "python": platform.python_version(), "machine": platform.machine()}


class _Comparison:
    """One model and its twin in one dtype."""

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
        for mode in ("eval",) if self.dtype == "float32" and self.twin.large else ("eval", "train"):
            results = self._compare_calls(mode, attempt=0)
            outputs = {child or "output": result.outputs for child, result in results.items()}
            checks.append(self._check(f"forward, {mode}", outputs, self.tolerances.forward))
            if mode == "train":
                checks += self._training_checks(results)
        return checks + self._lockstep_checks()

    def _compare_calls(self, mode: str, attempt: int) -> dict[str, Comparison]:
        """The comparison of every child that is called by itself, by name."""
        ours, theirs = self._pair(self.subject, mode)
        rng = np.random.default_rng([self.seed, attempt])
        results = {}
        for child, examples in self.twin.examples.items():
            inputs = [as_dtype(example.draw(rng, self.batch), self.dtype) for example in examples]
            results[child] = compare_call(
                child_of(ours, child),
                child_of(theirs, child),
                inputs,
                gradients=mode == "train",
                seed=self.seed,
            )
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
            name = f"gradients, draw {tries}"
            check = self._check(name, self._gradients(again), self.tolerances.gradient)
        return [check] + ([self._check("buffers", buffers, self.tolerances.forward)] if buffers else [])

    def _gradients(self, results: dict[str, Comparison]) -> Errors:
        """The errors of the gradients of inputs and parameters.

        A gradient that is truly zero is the rounding of terms that cancel. Its error is taken relative to the
        gradient of the weight of the same layer.
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
        ours, theirs = self._pair(self.stepped, "train")
        free = self.tolerances.steps is not None and not self.twin.chaotic
        recipe = self.stepped.recipe
        examples = find_twin(recipe.model, recipe.options).batch
        losses, leaves = run_lockstep(
            recipe, ours, theirs, examples, steps=self.steps, batch=self.batch,
            seed=self.seed, free=free, optimizers=self.stepped.optimizers,
        )  # fmt: skip
        steps = f"{self.steps} steps" + ("" if self.stepped is self.subject else " of the small variant")
        steps += "" if free else ", each from torch's state"
        checks = [self._check(f"{steps}, losses", {"": losses}, self.tolerances.losses)]
        if self.tolerances.steps is not None:
            held = {n: e for n, e in leaves.items() if n.split(":")[0] not in self.step_exempt}
            parts = {
                "parameters and buffers": {n: e for n, e in held.items() if ":" not in n},
                "optimizer state": {n: e for n, e in held.items() if ":" in n},
            }
            checks += [
                self._check(f"{steps}, {part}", errors, self.tolerances.steps)
                for part, errors in parts.items()
                if errors  # SGD without momentum has no state
            ]
        return checks

    def _pair(self, subject: Subject, mode: str) -> tuple[nnx.Module, torch.nn.Module]:
        """The model and its twin with the same weights, in this dtype and mode."""
        recipe = subject.recipe
        ours = abstract_model(recipe)
        for path, variable in flat_variables(ours).items():
            variable.set_value(jnp.asarray(as_dtype(subject.values[path], self.dtype)))
        for number, rng_state in enumerate(nnx.to_flat_state(nnx.state(ours, nnx.RngState)).leaves):
            key = jax.random.fold_in(jax.random.key(self.seed), number)
            rng_state.set_value(key if isinstance(rng_state, nnx.RngKey) else jnp.zeros((), jnp.uint32))
        theirs = torch_models.MODELS[recipe.model](**recipe.options).to(getattr(torch, self.dtype))
        to_torch(ours, theirs)
        for model in (ours, theirs):
            model.train() if mode == "train" else model.eval()
        return ours, theirs

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
