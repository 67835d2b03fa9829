"""Deep dreams of both frameworks: the certificate, and a dream with the exported weights."""

import numpy as np
import pytest
import torch
from PIL import Image

import torch_models.dream
from convert.__main__ import main
from convert.certificate.dream import verify_dream
from convert.certificate.tolerances import TOLERANCES, difference
from convert.files import read_torch_file, save_torch_file
from tests.pairs import model_pair
from torch_models.dream import DeepDream
from train.backend import compiler_options
from train.engine.dreaming import Drawing, build_dreamer
from train.engine.octaves import DreamSettings, dream_octaves, halve

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = {"width": 4, "hidden_features": 8, "num_classes": 2}
LARGER = [pytest.param(name, None, marks=pytest.mark.heavy) for name in ("vgg16_bn", "alexnet")]


@pytest.mark.parametrize(("model", "layer"), [("vgg11", 6), *LARGER])
def test_both_frameworks_dream_the_same(model, layer):
    certificate = verify_dream(model, options=SMALL, settings=DreamSettings(layer=layer, rate=2.0))
    assert certificate.passed, str(certificate)
    assert [check.dtype for check in certificate.checks] == ["float64"] * 4 + ["float32"] * 4
    assert certificate.weights.startswith("deep dream of layer ")


def _one_gradient(self, x, gradient):
    norms, new = self.norms_and_gradient(x)
    return x + self.rate * new, new, norms


@pytest.mark.parametrize(
    ("owner", "name", "value", "failing"),
    [
        (torch_models.dream, "MEAN", (0.5, 0.456, 0.406), {"an iteration", "octaves"}),
        (torch_models.dream, "STD", (0.229, 0.224, 0.3), {"an iteration", "octaves"}),
        (DeepDream, "iterate", _one_gradient, {"octaves"}),
    ],
)
def test_a_twin_that_dreams_otherwise_fails(owner, name, value, failing, monkeypatch):
    monkeypatch.setattr(owner, name, value)
    settings = DreamSettings(layer=3, rate=2.0)
    certificate = verify_dream("vgg11", options=SMALL, settings=settings, dtypes=("float64",))
    failed = [check.name for check in certificate.checks if not check.passed]
    assert {part for part in ("an iteration", "octaves") if any(part in name for name in failed)} == failing


def test_a_layer_without_activity_has_the_gradient_zero():
    features = [torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU()]
    torch.nn.init.zeros_(features[0].weight)
    torch.nn.init.constant_(features[0].bias, -1)
    norms, gradient = DeepDream(features, 2).norms_and_gradient(torch.ones(1, 3, 4, 4))
    assert norms.tolist() == [0] and not gradient.any()


def test_the_exported_weights_dream_the_same_in_torch(tmp_path):
    """As on the page: a torch model with the weights of model.pth, in a DeepDream."""
    pair, settings = model_pair("vgg11", options=SMALL, dtype="float32"), DreamSettings(layer=6, size=16)
    save_torch_file(pair.theirs.state_dict(), tmp_path / "model.pth")
    model = torch_models.MODELS["vgg11"](**SMALL)
    model.load_state_dict(read_torch_file(tmp_path / "model.pth"))
    theirs = DeepDream(model.features, 6).eval()
    assert theirs.state_dict().keys() <= model.state_dict().keys()

    def draw(image: np.ndarray) -> np.ndarray:
        return theirs(torch.tensor(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()

    ours = Drawing(build_dreamer(pair.ours, "vgg11", settings), compiler_options())
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 17, 3), np.uint8))
    pictures = halve(picture, settings)[-2:]
    a, b = ([octave.image for octave in dream_octaves(pictures, one, settings)] for one in (ours, draw))
    assert max(map(difference, a, b)) <= TOLERANCES["float32"].dream
    assert difference(a[-1], np.asarray(picture) / 255) > 0.05


@pytest.mark.heavy
def test_the_command_compares_dreams(capsys):
    main(["verify", "--model", "vgg11", "--tiny", "--dream"])
    shown = capsys.readouterr().out
    assert "vgg11, deep dream of layer 18, random weights, seed 0" in shown and "the twins agree" in shown


def test_a_model_that_cannot_dream_is_refused():
    with pytest.raises(ValueError, match="linear_regression has no Sequential `features`"):
        verify_dream("linear_regression")
