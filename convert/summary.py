"""The layers of both twins of a model, side by side: `python -m convert summary --model lenet5`.

Each row describes one layer that the model calls: the shape of its output for one example and the number of
its parameters, in Flax (channels last) and in PyTorch (channels first). Only shapes are computed, no values.
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
from convert.certificate.recording import recorded_torch_outputs, report_calls
from convert.twins import child_of, find_twin
from convert.weights import dotted, flat_variables
from train.recipes import find_recipe
from train.tasks.models import abstract_model, check_options, find_model

BATCH_SIZE = 2  # a batch norm in training mode needs two examples; the table does not show the batch axis


class Row(NamedTuple):
    """One layer. The shapes are those of its outputs for one example, without the batch axis."""

    path: str
    kind: str
    flax_shape: str
    torch_shape: str
    flax_parameters: int
    torch_parameters: int


def summarise(model: str, options: dict[str, Any] | None = None) -> list[Row]:
    """The rows of a model's innermost layers, in the order of their calls.

    Errors: ValueError for an unknown model, and for options that it does not take.
    """
    recipe = dataclasses.replace(find_recipe(model), options=options or {})
    check_options(recipe, find_model(model))
    flax_model = abstract_model(recipe)
    with torch.device("meta"):
        torch_model = torch_models.MODELS[model](**recipe.options)
    rows = []
    for child, examples in find_twin(model, options).examples.items():
        rng = np.random.default_rng(0)
        arrays = [example.draw(rng, BATCH_SIZE) for example in examples]
        arrays = [a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays]
        batch_axis = examples[0].batch_axis
        flax_child, torch_child = child_of(flax_model, child), child_of(torch_model, child)
        flax_shapes = _flax_shapes(flax_child, arrays, batch_axis)
        torch_shapes = _torch_shapes(torch_child, arrays, batch_axis)
        rows += _rows(child, flax_child, torch_child, flax_shapes, torch_shapes)
    return rows


def _flax_shapes(module: nnx.Module, arrays: list[np.ndarray], batch_axis: int) -> dict[str, str]:
    """{dotted path of a layer: the shapes of its outputs} in the order of the calls."""
    shapes: dict[str, str] = {}
    graph, state = nnx.split(module)

    def call(state: Any) -> None:
        model: Any = nnx.merge(graph, state)
        report_calls(model, lambda path, output: shapes.update({path: _shape(output, batch_axis)}))
        model(*map(jnp.asarray, arrays))

    jax.eval_shape(call, state)
    return shapes


def _torch_shapes(module: torch.nn.Module, arrays: list[np.ndarray], batch_axis: int) -> dict[str, str]:
    """{dotted path of a layer: the shapes of its outputs}."""
    with recorded_torch_outputs(module) as layers, torch.no_grad():
        module(*(to_torch_input(array).to("meta") for array in arrays))
    return {name: _shape(output, batch_axis) for name, output in layers.items()}


def _shape(output: Any, batch_axis: int) -> str:
    """The shapes of all outputs as text, without the batch axis."""
    sizes = (
        [str(size) for axis, size in enumerate(leaf.shape) if axis != min(batch_axis, leaf.ndim - 1)]
        for leaf in jax.tree.leaves(output)
    )
    return ", ".join("x".join(one) or "1" for one in sizes)


def _rows(
    child: str, flax_module: nnx.Module, torch_module: torch.nn.Module, flax_shapes: dict[str, str],
    torch_shapes: dict[str, str],
) -> list[Row]:  # fmt: skip
    flax_layers = {dotted(path): module for path, module in nnx.iter_modules(flax_module)}
    torch_layers = dict(torch_module.named_modules())
    inner = [name for name in flax_shapes if name in torch_layers and not any(torch_layers[name].children())]
    flax_counts: dict[str, int] = {}
    for path, variable in flat_variables(flax_module).items():
        if isinstance(variable, nnx.Param):
            owner = next((n for n in inner if dotted(path).startswith(f"{n}.")), "")
            flax_counts[owner] = flax_counts.get(owner, 0) + math.prod(variable.shape)
    rows = []
    for name in inner:
        torch_count = sum(parameter.numel() for parameter in torch_layers[name].parameters())
        path = f"{child}.{name}" if child else name
        kind = type(flax_layers[name]).__name__
        shapes = flax_shapes[name], torch_shapes[name]
        rows.append(Row(path, kind, *shapes, flax_counts.get(name, 0), torch_count))
    return rows


def table_of(model: str, rows: list[Row]) -> Any:
    """The rows as a rich table, with the total numbers of parameters below."""
    from rich.table import Table

    table = Table(title=model, title_justify="left", show_footer=True)
    table.add_column("layer", "total")
    for column in ("kind", "Flax output", "PyTorch output"):
        table.add_column(column)
    totals = {
        "Flax parameters": sum(row.flax_parameters for row in rows),
        "PyTorch parameters": sum(row.torch_parameters for row in rows),
    }
    for column, total in totals.items():
        table.add_column(column, f"{total:,}", justify="right")
    for row in rows:
        counts = [f"{count:,}" if count else "" for count in (row.flax_parameters, row.torch_parameters)]
        table.add_row(row.path, row.kind, row.flax_shape, row.torch_shape, *counts)
    return table
