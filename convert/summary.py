"""Both twins of a model, layer beside layer: `python -m convert summary --model lenet5`.

A row is a layer that is called: the shape of its output for one example and its parameters, in Flax (channels
last) and in PyTorch (channels first). Only shapes are computed.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import torch_models
from convert.certificate.calls import to_torch_input
from convert.certificate.recording import record_outputs, recorded_outputs
from convert.twins import child_of, find_twin
from convert.weights import dotted, flat_variables
from train.recipes import find_recipe
from train.tasks.models import abstract_model

BATCH_SIZE = 2  # a batch norm in training mode needs two examples; the table leaves the axis out


class Row(NamedTuple):
    """One layer by its path. Shapes are those of its output for one example; None where not called."""

    path: str
    kind: str
    flax_shape: str
    torch_shape: str
    flax_parameters: int
    torch_parameters: int


def summarise(model: str, options: dict[str, Any] | None = None) -> list[Row]:
    """The rows of a model's innermost layers, in the order of their calls.

    Errors: ValueError for an unknown model or options that it does not take.
    """
    recipe = dataclasses.replace(find_recipe(model), options=options or {})
    ours = abstract_model(recipe)
    with torch.device("meta"):
        theirs = torch_models.MODELS[model](**recipe.options)
    rows = []
    for child, examples in find_twin(model, options).examples.items():
        rng = np.random.default_rng(0)
        arrays = [example.draw(rng, BATCH_SIZE) for example in examples]
        arrays = [a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays]
        batch_axis = examples[0].batch_axis
        flax_shapes = _flax_shapes(child_of(ours, child), arrays, batch_axis)
        torch_shapes = _torch_shapes(child_of(theirs, child), arrays, batch_axis)
        rows += _rows(child, child_of(ours, child), child_of(theirs, child), flax_shapes, torch_shapes)
    return rows


def _flax_shapes(module: nnx.Module, arrays: list[np.ndarray], batch_axis: int) -> dict[str, str]:
    called: list[str] = []
    graph, state = nnx.split(module)

    def call(state):
        model: Any = nnx.merge(graph, state)
        layers = record_outputs(model)
        model(*map(jnp.asarray, arrays))
        called[:] = layers
        return dict(layers)

    shapes = jax.eval_shape(call, state)
    return {name: _shape(shapes[name], batch_axis) for name in called}


def _torch_shapes(module: torch.nn.Module, arrays: list[np.ndarray], batch_axis: int) -> dict[str, str]:
    with recorded_outputs(module) as layers, torch.no_grad():
        module(*(to_torch_input(array).to("meta") for array in arrays))
    return {name: _shape(output, batch_axis) for name, output in layers.items()}


def _shape(output: Any, batch_axis: int) -> str:
    """The sizes of every output, the batch axis left out."""
    sizes = (
        [str(size) for axis, size in enumerate(leaf.shape) if axis != min(batch_axis, leaf.ndim - 1)]
        for leaf in jax.tree.leaves(output)
    )
    return ", ".join("x".join(one) or "1" for one in sizes)


def _rows(child: str, ours: nnx.Module, theirs: torch.nn.Module, flax_shapes, torch_shapes) -> list[Row]:
    modules = {dotted(path): module for path, module in nnx.iter_modules(ours)}
    twins = dict(theirs.named_modules())
    inner = [name for name in flax_shapes if name in twins and not any(twins[name].children())]
    counts: dict[str, int] = {}
    for path, variable in flat_variables(ours).items():
        if isinstance(variable, nnx.Param):
            owner = next((n for n in inner if dotted(path).startswith(f"{n}.")), "")
            counts[owner] = counts.get(owner, 0) + math.prod(variable.shape)
    rows = []
    for name in inner:
        held = sum(parameter.numel() for parameter in twins[name].parameters())
        path = f"{child}.{name}" if child else name
        kind = type(modules[name]).__name__
        rows.append(Row(path, kind, flax_shapes[name], torch_shapes[name], counts.get(name, 0), held))
    return rows


def table_of(model: str, rows: list[Row]) -> Any:
    """The rows as a rich table, with the totals below."""
    from rich.table import Table

    totals = [sum(row[place] for row in rows) for place in (4, 5)]
    table = Table(title=model, title_justify="left", show_footer=True)
    table.add_column("layer", "total")
    table.add_column("kind")
    for side in ("Flax output", "PyTorch output"):
        table.add_column(side)
    for side, total in zip(("Flax parameters", "PyTorch parameters"), totals, strict=True):
        table.add_column(side, f"{total:,}", justify="right")
    for row in rows:
        counts = [f"{n:,}" if n else "" for n in row[4:]]
        table.add_row(*row[:4], *counts)
    return table
