"""Run folders across the bridge: a trained run to torch, and torch weights to a run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from flax import nnx, traverse_util

import torch_models
from convert.certificate import Certificate, verify
from convert.export import check_export, export_torchscript
from convert.lockstep import build_torch_optimizers, child_of, state_from_torch
from convert.optimizers import optimizer_to_torch
from convert.twins import find_twin
from convert.weights import to_flax, to_torch
from train.checkpoint import Checkpoints
from train.config import Recipe, read_recipe
from train.recipes import find_recipe
from train.state import TrainState, build_model
from train.tasks import build_task


class TrainedRun(NamedTuple):
    """What a run folder holds: its recipe, its last state, and the Flax model filled with it."""

    recipe: Recipe
    state: TrainState
    model: nnx.Module
    faults: list[str]


def load_run(workdir: Path) -> TrainedRun:
    """The last intact checkpoint of a run folder. ValueError where there is none."""
    recipe = read_recipe(workdir)
    model = build_model(recipe)
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(f"{workdir} has no checkpoints yet: python -m train.run --model {recipe.model}")
    with Checkpoints(workdir) as checkpoints:
        state, faults = checkpoints.restore(build_task(recipe, model).state())
    if state is None:
        raise ValueError(f"{workdir} has no intact checkpoint")
    nnx.update(model, nnx.State({**_merged(state.params, state.buffers)}))
    return TrainedRun(recipe, state, model, faults)


def run_to_torch(workdir: Path, say: Any = print) -> Certificate:
    """Writes workdir/export: model.pth, optimizer.pth, TorchScript files and certificate.json.

    Errors: ValueError for a folder without a run; ExportError where a file fails its check.
    """
    run = load_run(workdir)
    for fault in run.faults:
        say(fault)
    recipe, state = run.recipe, run.state
    twin = find_twin(recipe.model)
    export = workdir / "export"
    export.mkdir(exist_ok=True)

    torch_model = to_torch(run.model, torch_models.MODELS[recipe.model](**recipe.options))
    torch.save(torch_model.state_dict(), export / "model.pth")
    say(f"wrote {export / 'model.pth'}: {len(torch_model.state_dict())} leaves")
    optimizers = build_torch_optimizers(recipe, torch_model)
    for child, optimizer in optimizers.items():
        pair = child_of(run.model, child), child_of(torch_model, child)
        optimizer_to_torch(state.optimizers[child], *pair, optimizer)
    torch.save({child: o.state_dict() for child, o in optimizers.items()}, export / "optimizer.pth")
    say(f"wrote {export / 'optimizer.pth'}: the state of every optimizer")

    for child in twin.exported:
        path = export_torchscript(child_of(torch_model, child), export / f"{child or 'model'}.torchscript.pt")
        error = check_export(path, child_of(run.model, child), twin.examples[child])
        say(f"wrote {path}: loads without us, differs from Flax by {error:.1e}")

    flat = traverse_util.flatten_dict(_merged(state.params, state.buffers))
    certificate = verify(
        recipe.model, recipe=recipe, values={path: np.asarray(array) for path, array in flat.items()},
        optimizers=state.optimizers, weights=f"trained weights of step {int(state.step)}",
    )  # fmt: skip
    certificate.write(export / "certificate.json")
    return certificate


def run_from_torch(
    file: Path, model: str, workdir: Path, optimizer: Path | None = None, say: Any = print
) -> None:
    """Makes a run folder at step 0 from a PyTorch state dict, for `train.run` to go on from.

    optimizer: the `optimizer.pth` that `to-torch` writes, {child: optimizer state dict}; without it
    the optimizers begin anew. Errors: ValueError where a file cannot be read safely, a leaf has no
    place, or the folder is not empty.
    """
    recipe = find_recipe(model)
    if workdir.exists() and any(workdir.iterdir()):
        raise ValueError(f"{workdir} is not empty: choose another --workdir")
    torch_model = torch_models.MODELS[model](**recipe.options)
    flax_model = build_model(recipe)
    weights = read_torch_file(file)
    to_flax(weights, flax_model)
    torch_model.load_state_dict(weights)
    task = build_task(recipe, flax_model)
    state = task.state()
    if optimizer is not None:
        state = state_from_torch(state, flax_model, torch_model, read_torch_file(optimizer))
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "recipe.json").write_text(json.dumps(recipe.to_json(), indent=2) + "\n")
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(state)
    say(f"placed {len(weights)} leaves of {file} in {workdir}")
    say(f"go on: python -m train.run --model {model} --workdir {workdir}")


def read_torch_file(file: Path) -> Mapping[str, Any]:
    """A dictionary that torch.save wrote, read without unpickling code. ValueError otherwise."""
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    try:
        values = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged zip, a refused pickle, a file of another kind
        raise ValueError(
            f"{file} is not a file of tensors that torch.save wrote ({type(error).__name__})"
        ) from None
    if not isinstance(values, Mapping):
        raise ValueError(f"{file} holds a {type(values).__name__}, not a state dict")
    return values


def _merged(params: Any, buffers: Any) -> dict:
    flat = {**traverse_util.flatten_dict(params), **traverse_util.flatten_dict(buffers)}
    return traverse_util.unflatten_dict(flat)
