"""Trained runs across the bridge: a new head, averaged weights, and the table of results."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import torch_models
from convert import Certificate, to_torch
from convert.__main__ import main
from convert.certificate.results_table import markdown
from convert.certificate.tolerances import TOLERANCES, difference
from convert.pages import BEGIN, END
from convert.runs import run_from_torch, run_to_torch
from tests.conftest import tiny_recipe
from train.engine.loop import train
from train.engine.metrics import read_metrics
from train.engine.run_folders import read_recipe
from train.engine.runs import load_run
from train.optim import SGD

pytestmark = pytest.mark.standard_promotion("training runs under jax's default promotion")
OPTIONS = {"width": 8}


@pytest.fixture
def file(tmp_path) -> Path:
    """Weights for another number of classes, with the keys of torchvision."""
    torch.manual_seed(0)
    torch.save(torch_models.MODELS["resnet18"](1000, **OPTIONS).state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_a_head_is_replaced_only_on_request(file, tmp_path):
    message = r"fc\.weight is \(1000, 64\).*--replace-head initialises a new head"
    with pytest.raises(ValueError, match=message):
        run_from_torch(file, "resnet18", tmp_path / "run", options=OPTIONS)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def new_head(file, tmp_path) -> Path:
    """The folder of a run with a new head."""
    lines: list[str] = []
    run_from_torch(file, "resnet18", tmp_path / "run", options=OPTIONS, replace_head=True, say=lines.append)
    assert "initialised for 2 classes: fc.weight, fc.bias" in lines
    return tmp_path / "run"


def test_a_new_head_leaves_the_other_weights_as_they_are(file, new_head):
    run = load_run(new_head)
    theirs = to_torch(run.model, torch_models.MODELS["resnet18"](2, **OPTIONS)).state_dict()
    given = torch.load(file, weights_only=True)
    assert list(given) == list(theirs) and theirs["fc.weight"].shape == (2, 64)
    for name, tensor in given.items():
        assert name.startswith("fc.") or torch.equal(tensor, theirs[name])
    assert theirs["fc.weight"].abs().max() > 0


@pytest.mark.heavy
def test_a_run_with_a_new_head_trains_and_returns_to_torch(file, new_head, data_dir):
    recipe = dataclasses.replace(read_recipe(new_head), steps=2, batch_size=8, take=64, image_size=32)
    train(recipe, new_head, data_dir)
    theirs = torch_models.MODELS["resnet18"](2, **OPTIONS)
    after = to_torch(load_run(new_head).model, theirs).state_dict()
    before = torch.load(file, weights_only=True)
    moved = (before["layer1.0.conv1.weight"] - after["layer1.0.conv1.weight"]).abs().max()
    assert 0 < float(moved) < 0.1  # it continued from the weights of the file


def test_the_head_of_the_file_can_be_kept(file, tmp_path):
    run_from_torch(file, "resnet18", tmp_path / "run", options={**OPTIONS, "num_classes": 1000}, say=str)
    assert read_recipe(tmp_path / "run").options["num_classes"] == 1000


@pytest.fixture(scope="module")
def averaged(tmp_path_factory, data_dir) -> Path:
    """The folder of a finished run of a small GAN that keeps an average of the weights."""
    workdir = tmp_path_factory.mktemp("runs") / "mlp_gan"
    train(tiny_recipe("mlp_gan", ema=0.5, sample_every=6), workdir, data_dir, quiet=True)
    return workdir


def test_the_averaged_weights_are_exported_too(averaged, monkeypatch):
    empty = Certificate("mlp_gan", {}, "", 0, 0, 0, {}, (), (), ())
    monkeypatch.setattr("convert.runs.verify", lambda *args, **kwargs: empty)
    result = run_to_torch(averaged, say=lambda line: None)
    assert result.exports.keys() == {"generator.torchscript.pt", "generator_average.torchscript.pt"}
    run = load_run(averaged)
    latents = np.random.default_rng(0).normal(size=(10, *run.model.generator.latent_shape))
    samples = run.sample(latents=latents.astype(np.float32)).examples
    differences = []
    for name in ("generator_average.torchscript.pt", "generator.torchscript.pt"):
        generator = torch.jit.load(averaged / "export" / name)
        images = generator(torch.tensor(latents, dtype=torch.float32)).detach().movedim(1, -1)
        differences.append(difference(samples, images.numpy()))
    assert differences[0] <= TOLERANCES["float32"].forward < differences[1]


def test_the_table_of_results_is_made_of_run_folders(tmp_path, data_dir):
    workdir, page = tmp_path / "run", tmp_path / "models.md"
    recipe = tiny_recipe("fashion_mlp", steps=4, sample_every=4, optimizer=SGD(lr=0.1, momentum=0.9))
    train(recipe, workdir, data_dir, quiet=True)
    with pytest.raises(ValueError, match="has no certificate: python -m convert to-torch"):
        markdown([workdir])
    run_to_torch(workdir, lambda line: None)
    rows = "| model | data |\n| --- | --- |\n| dcgan | kept |\n| fashion_mlp | old |\n| nothing | old |\n"
    page.write_text(f"# Models\n{BEGIN}\n{rows}\nold\n{END}\nafter\n")
    main(["table", str(workdir), "--write", str(page)])
    text = page.read_text()
    assert text.startswith("# Models\n") and text.endswith("after\n") and "old" not in text
    assert text.index("| fashion_mlp |") < text.index("| dcgan | kept |")  # the row of another run stays
    cells = next(line for line in text.splitlines() if line.startswith("| fashion_mlp")).split(" | ")
    accuracy = read_metrics(workdir)[-1]["test_accuracy"]
    assert cells[2:5] == ["digits", "4", f"test accuracy {accuracy:.4g}"]
    assert all(float(cell) < 1e-10 for cell in cells[6:9]) and "FAIL" not in text
    page.write_text("# Models\n")
    with pytest.raises(ValueError, match="has no lines <!-- table --> and <!-- end -->"):
        main(["table", str(workdir), "--write", str(page)])
