"""Exports load where nothing of ours is, and give what the Flax model gives."""

import dataclasses

import numpy as np
import pytest
import torch

import torch_models
from convert import to_torch
from convert.certificate.tolerances import TOLERANCES
from convert.formats.alone import ExportError, check_export, run_alone
from convert.formats.torchscript import export_torchscript
from convert.twins import TWINS, child_of, find_twin
from tests.conftest import MODELS
from train.recipes import RECIPES
from train.tasks.models import build_model

# Of each class once: lsgan's generator is gan's.
CLASSES = {torch_models.MODELS[model]: model for model in reversed(MODELS)}
EXPORTS = [(model, child) for model in CLASSES.values() for child in TWINS[model].exported]


def pair(model: str, child: str):
    ours = build_model(dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny)))
    theirs = to_torch(ours, torch_models.MODELS[model](**TWINS[model].tiny))
    return child_of(ours, child), child_of(theirs, child)


@pytest.mark.parametrize(("model", "child"), EXPORTS)
def test_an_export_gives_what_the_flax_model_gives(model, child, tmp_path):
    ours, theirs = pair(model, child)
    path = export_torchscript(theirs, tmp_path / "x.torchscript.pt")
    examples = find_twin(model, TWINS[model].tiny).examples[child]
    assert check_export(path, ours, examples) <= TOLERANCES["float32"].forward
    assert theirs.training, "exporting must leave the module as it was"


def test_an_export_of_other_weights_is_refused(tmp_path):
    ours, theirs = pair("dcgan", "generator")
    with torch.no_grad():
        theirs.conv[3].bias += 0.01
    path = export_torchscript(theirs, tmp_path / "x.torchscript.pt")
    with pytest.raises(ExportError, match="differs from the Flax model"):
        check_export(path, ours, find_twin("dcgan").examples["generator"])


def test_a_file_that_does_not_load_is_refused(tmp_path):
    path = tmp_path / "x.torchscript.pt"
    path.write_bytes(b"not TorchScript")
    with pytest.raises(ExportError, match="does not load on its own"):
        run_alone(path, [[np.zeros((1, 2), np.float32)]])


def test_the_process_that_checks_can_import_nothing_of_ours(tmp_path):
    class NeedsUs(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    module = torch.jit.script(NeedsUs())
    module.save(str(tmp_path / "x.pt"))
    from convert import export

    script = export._LOADER.replace("module = torch.jit", "import torch_models\nmodule = torch.jit")
    original, export._LOADER = export._LOADER, script
    try:
        with pytest.raises(ExportError, match="torch_models must not be needed here"):
            run_alone(tmp_path / "x.pt", [[np.zeros((1, 2), np.float32)]])
    finally:
        export._LOADER = original
