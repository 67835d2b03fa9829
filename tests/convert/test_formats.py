"""Export formats: each writes a file that runs alone, and a file that does not agree is refused."""

import numpy as np
import pytest
import torch

from convert.formats import FORMATS
from convert.formats.alone import ExportError, check_export, run_alone
from convert.twins import Example
from flax_models import layers
from tests.pairs import Pair, make_pair

forms = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
EXAMPLES = [Example((3, 3, 2))]


class TorchNet(torch.nn.Module):
    """A convolution and a linear layer."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.Flatten(), torch.nn.Linear(12, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.fixture
def pair() -> Pair:
    from flax import nnx

    def ours() -> nnx.Module:
        rngs = nnx.Rngs(0)
        net = [layers.Conv2d(2, 3, 2, rngs=rngs), layers.Flatten(), layers.Linear(12, 4, rngs=rngs)]
        return layers.Sequential(*net)

    return make_pair(ours, lambda: TorchNet().net, dtype="float32")


@forms
def test_a_file_loads_alone_and_agrees(form, pair, tmp_path):
    path = form.write(pair.theirs, tmp_path / "new" / f"x{form.suffix}")
    assert path == tmp_path / "new" / f"x{form.suffix}" and path.is_file()
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no part of a file stays"
    assert 0 <= check_export(path, form, pair.ours, EXAMPLES) < 1e-6
    assert pair.theirs.training, "exporting must leave the module as it was"


@forms
def test_an_export_is_in_evaluation_mode_and_takes_any_batch_size(form, tmp_path):
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Flatten())
    path = form.write(module, tmp_path / f"x{form.suffix}")
    inputs = [[np.ones((size, 2), np.float32)] for size in (1, 5)]
    for given, output in zip(inputs, run_alone(path, form, inputs), strict=True):
        np.testing.assert_array_equal(output, given[0])


@forms
def test_an_export_of_other_weights_is_refused(form, pair, tmp_path):
    with torch.no_grad():
        pair.theirs[2].bias += 0.01
    path = form.write(pair.theirs, tmp_path / f"x{form.suffix}")
    with pytest.raises(ExportError, match="differs from the Flax model"):
        check_export(path, form, pair.ours, EXAMPLES)


@forms
def test_a_file_that_does_not_load_is_refused(form, tmp_path):
    path = tmp_path / f"x{form.suffix}"
    path.write_bytes(b"no model")
    with pytest.raises(ExportError, match="does not load alone"):
        run_alone(path, form, [[np.zeros((1, 2), np.float32)]])


@forms
@pytest.mark.parametrize("name", ["convert.twins", "jax"])
def test_the_process_that_checks_can_import_nothing_of_ours(form, name, pair, tmp_path):
    path = form.write(pair.theirs, tmp_path / f"x{form.suffix}")
    needy = form._replace(loader=form.loader.replace("    import torch\n", f"    import torch, {name}\n"))
    assert needy.loader != form.loader
    package = name.split(".")[0]
    with pytest.raises(ExportError, match=f"{package} must not be needed here"):
        run_alone(path, needy, [[np.zeros((1, 3, 3, 2), np.float32)]])
