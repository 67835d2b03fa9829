"""verify: one model and its twin compared, as a certificate for people and for machines.

In float64 and float32: every output in evaluation and training mode, the buffers that training
moves, every gradient, and 20 optimizer steps in lockstep with the PyTorch reference step.
"""

import dataclasses
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import torch_models
from convert.compare import Comparison, Errors, as_dtype, compare_call
from convert.lockstep import child_of, run_lockstep
from convert.tolerances import TOLERANCES
from convert.twins import Twin, find_twin
from convert.weights import flat_variables, to_torch
from train.config import Recipe
from train.recipes import find_recipe
from train.state import abstract_model, build_model

STEPS, BATCH = 20, 16
# A gradient jumps where an activation crosses a kink or two in a pooling window change places, and in
# float32 rounding may do that. So there it counts at the first of these draws that shows no jump; a
# wrong meaning is wrong at all of them. Float64 has one draw. A large model has millions of activations,
# one of them at a kink in every draw, and its norms multiply rounding: torch's own float32 leaves its
# float64 by more than is allowed. So in float32 it is compared in evaluation mode alone, and step by step.
DRAWS = 3


@dataclass(frozen=True)
class Check:
    """One comparison: the largest difference found, and where."""

    dtype: str
    name: str
    error: float
    tolerance: float
    worst: str

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Layer:
    """One layer or leaf, by its torch name: differences forward and of its gradients."""

    dtype: str
    name: str
    forward: float | None
    gradient: float | None


@dataclass(frozen=True)
class Certificate:
    """How exactly a model and its twin agree. `passed` is the verdict; `str` is the table.

    exports: {file: its difference from the Flax model, run in a process without us}.
    """

    model: str
    options: Mapping[str, Any]
    weights: str
    steps: int
    batch: int
    seed: int
    versions: Mapping[str, str]
    checks: tuple[Check, ...]
    layers: tuple[Layer, ...]
    exempt: tuple[str, ...]
    exports: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def first_divergence(self) -> str | None:
        """The first layer, in the order of the calls, whose output is off by more than allowed."""
        for layer in self.layers:
            if layer.forward is not None and layer.forward > TOLERANCES[layer.dtype].forward:
                return f"{layer.name} ({layer.dtype})"
        return None

    def to_json(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        values["checks"] = [{**dataclasses.asdict(c), "passed": c.passed} for c in self.checks]
        return {"passed": self.passed, "first_divergence": self.first_divergence, **values}

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n")

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=120, no_color=True, highlight=False)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()

    def table(self) -> Any:
        """The certificate as a rich renderable."""
        from rich.console import Group
        from rich.table import Table

        table = Table(title=f"{self.model}, {self.weights}", title_justify="left")
        for column in ("dtype", "check", "error", "allowed", "", "largest at"):
            table.add_column(column, justify="right" if column in ("error", "allowed") else "left")
        for check in self.checks:
            verdict = "pass" if check.passed else "FAIL"
            table.add_row(
                check.dtype, check.name, f"{check.error:.1e}", f"{check.tolerance:.0e}", verdict, check.worst
            )
        lines = [", ".join(f"{name} {version}" for name, version in self.versions.items())]
        if self.exempt:
            lines.append(f"exempt from the step check (true gradient zero): {', '.join(self.exempt)}")
        if self.first_divergence:
            lines.append(f"first layer that diverges: {self.first_divergence}")
        lines.append("the twins agree" if self.passed else "THE TWINS DO NOT AGREE")
        return Group(table, *lines)


class Subject(NamedTuple):
    """A model to compare: its recipe, its arrays by path, and optimizer states to start the steps from."""

    recipe: Recipe
    values: Mapping[tuple, np.ndarray]
    optimizers: Mapping[str, Any] | None = None


def verify(
    model: str, *, recipe: Recipe | None = None, options: Mapping[str, Any] | None = None,
    values: Mapping[tuple, np.ndarray] | None = None, optimizers: Mapping[str, Any] | None = None,
    weights: str | None = None, dtypes: Sequence[str] = ("float64", "float32"),
    steps: int = STEPS, batch: int = BATCH, seed: int = 0,
) -> Certificate:  # fmt: skip
    """Compares a model of ours with its twin and returns the certificate.

    values: the arrays of the model by path, of a trained one; without them every leaf is random,
    since zeros and ones hide swaps. optimizers: the optax states to start the steps from. Of a large
    model the steps are those of its small variant, on random weights.
    weights: what the certificate says of their origin.

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
    return Certificate(
        model=model, options=dict(recipe.options), weights=weights or f"random weights, seed {seed}",
        steps=steps, batch=batch, seed=seed, versions=versions(), checks=tuple(checks),
        layers=tuple(layers), exempt=twin.exempt,
    )  # fmt: skip


def versions() -> dict[str, str]:
    """The versions that the numbers of a certificate belong to."""
    from importlib.metadata import version

    packages = {name: version(name) for name in ("jax", "flax", "optax", "torch", "numpy")}
    return {**packages, "python": platform.python_version(), "machine": platform.machine()}


class _Comparison:
    """One model and its twin in one dtype."""

    def __init__(self, subject: Subject, stepped: Subject, twin: Twin, dtype: str, steps, batch, seed):
        self.subject, self.stepped, self.twin, self.dtype = subject, stepped, twin, dtype
        self.steps, self.batch, self.seed = steps, batch, seed
        self.tolerances = TOLERANCES[dtype]
        self.layers: list[Layer] = []

    def checks(self) -> list[Check]:
        checks = []
        for mode in ("eval",) if self.dtype == "float32" and self.twin.large else ("eval", "train"):
            results = self._compare_calls(mode, draw=0)
            outputs = {child or "output": result.outputs for child, result in results.items()}
            checks.append(self._check(f"forward, {mode}", outputs, self.tolerances.forward))
            if mode == "train":
                checks += self._training_checks(results)
        return checks + self._lockstep_checks()

    def _compare_calls(self, mode: str, draw: int) -> dict[str, Comparison]:
        """Every child that is called on its own, by name."""
        ours, theirs = self._pair(self.subject, mode)
        rng = np.random.default_rng([self.seed, draw])
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
        check, draws = self._check("gradients", self._gradients(results), self.tolerances.gradient), 1
        while not check.passed and self.dtype == "float32" and draws < DRAWS:
            again = self._compare_calls("train", draw=draws)
            draws += 1
            name = f"gradients, draw {draws}"
            check = self._check(name, self._gradients(again), self.tolerances.gradient)
        return [check] + ([self._check("buffers", buffers, self.tolerances.forward)] if buffers else [])

    def _gradients(self, results: dict[str, Comparison]) -> Errors:
        """Of inputs and parameters. One that is zero in truth is what is left of terms that cancel, and its
        rounding theirs: it counts by the size of the gradient of the weight beside it."""
        errors: Errors = {}
        for child, result in results.items():
            errors[_dotted(child, "inputs")] = result.inputs
            for name, error in result.parameters.items():
                beside = f"{name.rpartition('.')[0]}.weight"
                if _dotted(child, name) in self.twin.exempt:
                    error *= max(1, result.largest[name]) / max(1, result.largest[beside])
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
            held = {n: e for n, e in leaves.items() if n.split(":")[0] not in self.twin.exempt}
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
        for number, stream in enumerate(nnx.to_flat_state(nnx.state(ours, nnx.RngState)).leaves):
            key = jax.random.fold_in(jax.random.key(self.seed), number)
            stream.set_value(key if isinstance(stream, nnx.RngKey) else jnp.zeros((), jnp.uint32))
        theirs = torch_models.MODELS[recipe.model](**recipe.options).to(getattr(torch, self.dtype))
        to_torch(ours, theirs)
        for model in (ours, theirs):
            model.train() if mode == "train" else model.eval()
        return ours, theirs

    def _check(self, name: str, errors: Errors, tolerance: float) -> Check:
        worst = max(errors, key=errors.__getitem__)
        return Check(self.dtype, name, errors[worst], tolerance, worst)


def random_values(recipe: Recipe, seed: int) -> dict[tuple, np.ndarray]:
    """First weights with every leaf made random, by path."""
    model = build_model(dataclasses.replace(recipe, seed=seed))
    rng = np.random.default_rng(seed)
    variables = flat_variables(model).items()
    return {path: randomised(np.asarray(variable[...]), str(path[-1]), rng) for path, variable in variables}


def randomised(array: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """A leaf with no zeros and ones left: variances positive, counts small, biases and scales spread.

    Matrices that are random already stay, unless they are so small that signals, and with them differences,
    would vanish in a deep network: those grow to 1 / sqrt(fan_in).
    """
    if np.issubdtype(array.dtype, np.integer):
        return rng.integers(1, 10, array.shape)
    if name.endswith("var"):
        return rng.uniform(0.5, 1.5, array.shape)
    if array.ndim > 1 and array.std() > 0:
        least = 1 / math.sqrt(math.prod(array.shape[:-1]))
        return array if array.std() > least / 2 else array * (least / array.std())
    return array + 0.1 * rng.standard_normal(array.shape)


def _below(child: str, errors: Errors) -> Errors:
    return {_dotted(child, name): error for name, error in errors.items()}


def _dotted(child: str, name: str) -> str:
    return f"{child}.{name}" if child else name
