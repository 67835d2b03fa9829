"""The conversion of run folders: a trained run into torch files, and torch weights into a run."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flax import nnx, traverse_util

import torch_models
from convert.certificate.lockstep import state_from_torch
from convert.certificate.result import Certificate
from convert.certificate.verify import verify
from convert.files import read_torch_file, save_torch_file
from convert.formats import FORMATS
from convert.formats.alone import check_export
from convert.optimizers import build_torch_optimizers, optimizer_to_torch
from convert.twins import child_of, find_twin
from convert.weights import to_flax, to_torch
from train.data.datasets import find_dataset
from train.engine.checkpoints import Checkpoints
from train.engine.run_folders import write_json
from train.engine.trained import load_trained
from train.recipes import Recipe, find_recipe
from train.tasks import build_task
from train.tasks.models import build_model, fit_options, model_options
from train.tasks.state import merge_trees


def run_to_torch(workdir: Path, say: Callable[[str], object] = print) -> Certificate:
    """Writes the weights of a trained run into workdir/export and returns its certificate.

    The files are model.pth, optimizer.pth, the exported children and certificate.json. A child whose weights
    the run averages is also exported with its averages, as CHILD_average. say: is called with each
    line of the report.
    Errors: ValueError for a folder without a run, and for a model without a twin; ExportError for an exported
    file that fails its check.
    """
    run = load_trained(workdir)
    for fault in run.faults:
        say(fault)
    recipe, state = run.recipe, run.state
    twin = find_twin(recipe.model, recipe.options)
    export = workdir / "export"
    export.mkdir(exist_ok=True)

    torch_model = to_torch(run.model, torch_models.MODELS[recipe.model](**recipe.options))
    save_torch_file(torch_model.state_dict(), export / "model.pth")
    say(f"wrote {export / 'model.pth'}: {len(torch_model.state_dict())} leaves")
    optimizers = build_torch_optimizers(recipe, torch_model)
    for child, optimizer in optimizers.items():
        flax_child, torch_child = child_of(run.model, child), child_of(torch_model, child)
        optimizer_to_torch(state.optimizers[child], flax_child, torch_child, optimizer)
    save_torch_file({child: o.state_dict() for child, o in optimizers.items()}, export / "optimizer.pth")
    say(f"wrote {export / 'optimizer.pth'}: the state of every optimizer")

    # The exports are checked in processes of their own while the certificate is computed.
    with ThreadPoolExecutor() as pool:
        checked: dict[Path, Future[float]] = {}

        def write(name: str, child: str, flax_child: nnx.Module, torch_child: torch.nn.Module) -> None:
            for form in FORMATS.values():
                path = form.write(torch_child, export / f"{name}{form.suffix}")
                checked[path] = pool.submit(
                    check_export, path, form, flax_child, twin.examples[child], twin.methods
                )

        for child in twin.exported:
            flax_child, torch_child = child_of(run.model, child), child_of(torch_model, child)
            write(child or "model", child, flax_child, torch_child)
            if child in state.extra.get("average", {}):
                averaged = nnx.clone(flax_child)
                for part in ("average", "average_buffers"):
                    nnx.update(averaged, nnx.State(state.extra[part].get(child, {})))
                write(f"{child}_average", child, averaged, to_torch(averaged, copy.deepcopy(torch_child)))

        flat = traverse_util.flatten_dict(merge_trees(state.params, state.buffers))
        certificate = verify(
            recipe.model, recipe=recipe, values={path: np.asarray(array) for path, array in flat.items()},
            optimizers=state.optimizers, weights=f"trained weights of step {int(state.step)}",
        )  # fmt: skip
        exports = {path.name: check.result() for path, check in checked.items()}
    for path, error in zip(checked, exports.values(), strict=True):
        say(f"wrote {path}: loads without this project, differs from Flax by {error:.1e}")
    certificate = dataclasses.replace(certificate, exports=exports)
    certificate.write(export / "certificate.json")
    return certificate


def run_from_torch(
    file: Path, model: str, workdir: Path, optimizer: Path | None = None,
    *, options: Mapping[str, Any] | None = None, dataset: str | None = None, replace_head: bool = False,
    say: Callable[[str], object] = print,
) -> None:  # fmt: skip
    """Makes a run folder at step 0 from a PyTorch state dict, so that `train.run` continues from it.

    file: the state dict that torch.save wrote. optimizer: the `optimizer.pth` that `to-torch` writes, {child:
    optimizer state dict}. If it is None, the optimizers start without state. options: the options of the
    model. If they do not contain num_classes, the data set gives the number of classes. dataset: the data set
    to train on; by default it is the model's own. replace_head: if the file has a different number of
    classes, initialise the last layers instead of loading them. say: is called with each line of the report.
    Errors: ValueError for a file that cannot be read safely, for leaves and optimizers that do not fit the
    model, and for a folder that is not empty.
    """
    recipe = find_recipe(model)
    if dataset is not None:
        recipe = recipe.on(dataset)
    if workdir.exists() and any(workdir.iterdir()):
        raise ValueError(f"{workdir} is not empty: choose another --workdir")
    classes = find_dataset(recipe.dataset).classes
    recipe = dataclasses.replace(recipe, options={**recipe.options, **(options or {})})
    recipe = fit_options(recipe, {"classes": classes} if classes else {})
    flax_model = build_model(recipe)
    torch_model = to_torch(flax_model, torch_models.MODELS[model](**recipe.options))
    weights = read_torch_file(file)
    head = misshapen_head(weights, torch_model, recipe)
    if head and not replace_head:
        name = head[0]
        raise ValueError(
            f"{name} is {tuple(weights[name].shape)} in {file} and "
            f"{tuple(torch_model.state_dict()[name].shape)} in the model for {recipe.dataset}: "
            "--replace-head initialises a new head, --options num_classes N keeps the head of the file"
        )
    weights = {**weights, **{name: torch_model.state_dict()[name] for name in head}}
    to_flax(weights, flax_model)
    torch_model.load_state_dict(weights)
    task = build_task(recipe, flax_model)
    state = task.initial_state()
    if optimizer is not None:
        states = read_torch_file(optimizer)
        if states.keys() != recipe.optimizers.keys():
            given, needed = (
                ", ".join(name or "the whole model" for name in names)
                for names in (states, recipe.optimizers)
            )
            raise ValueError(f"{optimizer} has optimizers of {given}, and this run has those of {needed}")
        state = state_from_torch(state, flax_model, torch_model, states)
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "recipe.json", recipe.to_json())
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(state)
    say(f"converted {len(weights) - len(head)} leaves of {file} into {workdir}")
    if head:
        say(f"initialised for {recipe.options['num_classes']} classes: {', '.join(head)}")
    flags = f" --dataset {dataset}" if dataset else ""
    say(f"continue with: python -m train.run --model {model}{flags} --workdir {workdir}")


def misshapen_head(weights: Mapping[str, Any], model: torch.nn.Module, recipe: Recipe) -> list[str]:
    """The leaves of a file whose shapes differ from the model's only by the number of classes."""
    known = model_options(recipe.model)
    if "num_classes" not in known:
        return []
    classes = {**known, **recipe.options}["num_classes"]
    with torch.device("meta"):
        wider = torch_models.MODELS[recipe.model](**{**recipe.options, "num_classes": classes + 1})
    expected, of_wider = model.state_dict(), wider.state_dict()
    return [
        name
        for name, tensor in weights.items()
        if name in expected
        and expected[name].shape != of_wider[name].shape
        and tensor.shape != expected[name].shape
    ]
