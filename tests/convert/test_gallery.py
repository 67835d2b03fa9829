"""The gallery: entries of run folders on a page, with their pictures."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from convert.__main__ import main
from convert.gallery import entry_of
from convert.pages import BEGIN, END
from tests.compilation import quicken
from tests.conftest import tiny_recipe
from train.engine.loop import train
from train.engine.metrics import read_metrics
from train.optim import SGD, Adam
from train.plotting.pictures import save_picture

pytestmark = pytest.mark.standard_promotion("training runs under jax's default promotion")
CERTIFICATE = {
    "weights": "trained weights of step 4", "steps": 20, "exports": {"model.torchscript.pt": 3e-7},
    "checks": [
        {"dtype": "float64", "name": name, "error": error, "passed": True}
        for name, error in (("forward, eval", 2e-16), ("gradients", 3e-15), ("20 steps, losses", 4e-14))
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data_dir) -> Path:
    """Runs of a regression, a classifier without a picture, and a language model."""
    folder = tmp_path_factory.mktemp("runs")
    recipes = {
        "linear_regression": tiny_recipe("linear_regression", batch_size=None, take=None),
        "mlp": tiny_recipe("fashion_mlp", steps=4, optimizer=SGD(lr=0.1)),
        "ngram_lm": tiny_recipe("ngram_lm", batch_size=1, take=None),
    }
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        for name, recipe in recipes.items():
            train(recipe, folder / name, data_dir, quiet=True)
    return folder


def export(workdir: Path, **fields: object) -> None:
    (workdir / "export").mkdir(exist_ok=True)
    (workdir / "export" / "certificate.json").write_text(json.dumps({**CERTIFICATE, **fields}))


@pytest.fixture
def mlp(runs, tmp_path) -> Path:
    """A copy of the run of fashion_mlp, which a test may change."""
    return Path(shutil.copytree(runs / "mlp", tmp_path / "mlp"))


def test_a_page_is_made_and_its_other_entries_stay(runs, tmp_path):
    page = tmp_path / "docs" / "gallery.md"
    main(["gallery", str(runs / "ngram_lm"), str(runs / "mlp"), "--write", str(page)])
    first = page.read_text()
    assert first.startswith("# Gallery\n") and first.endswith(f"{END}\n")
    page.write_text(first.replace(BEGIN, f"My words.\n{BEGIN}").replace("## ngram_lm", "## dcgan"))
    main(["gallery", str(runs / "linear_regression"), str(runs / "mlp"), "--write", str(page)])
    text = page.read_text()
    assert "My words." in text
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## linear_regression", "## fashion_mlp", "## dcgan"]
    assert text.count("fashion_mlp --options") == 1
    images = page.parent / "images" / "gallery"
    assert {path.name for path in images.iterdir()} == {"linear_regression.png", "ngram_lm.png"}
    with Image.open(images / "ngram_lm.png") as picture:
        assert max(picture.size) == 640  # its plot is wider


def test_an_entry_has_result_certificate_and_commands(runs, mlp):
    without = entry_of(mlp)
    assert without.model == "fashion_mlp" and without.picture is None
    assert "**No certificate**: this run has not been exported." in without.text
    export(mlp)
    entry = entry_of(mlp)
    accuracy = read_metrics(mlp)[-1]["test_accuracy"]
    assert "trained on digits for 4 steps in " in entry.text
    assert f": test accuracy {accuracy:.4g}." in entry.text
    assert "passes all 3 checks, with trained weights of step 4" in entry.text
    assert "2e-16 for outputs, 3e-15 for gradients and 4e-14 for 20 steps" in entry.text
    assert "TorchScript differs from Flax by 3e-07" in entry.text
    assert entry.text.endswith(
        "```sh\n"
        "python -m train.run --model fashion_mlp --options hidden_features 16 --steps 4 --batch-size 16"
        " --take 64 --log-every 2 --optimizer.lr 0.1 --optimizer.momentum 0.0 --workdir runs/mlp\n"
        "python -m train.evaluate runs/mlp\n"
        "python -m convert to-torch runs/mlp\n```\n"
    )


def test_a_certificate_that_fails_is_shown_as_such(mlp):
    checks = [{**CERTIFICATE["checks"][0], "passed": False}, *CERTIFICATE["checks"][1:]]
    export(mlp, checks=checks, exports={})
    text = entry_of(mlp).text
    assert "The certificate **FAILS** 1 of 3 checks" in text and "TorchScript" not in text


def test_the_picture_is_the_last_one_of_training_or_else_of_the_evaluation(runs, mlp):
    assert entry_of(runs / "linear_regression").picture == (
        runs / "linear_regression" / "samples" / "fit_000006.png"
    )
    (mlp / "evaluation").mkdir()
    for name in ("confusion.png", "predictions.png"):
        save_picture(Image.new("L", (9, 9)), mlp / "evaluation" / name)
    entry = entry_of(mlp)
    assert entry.picture == mlp / "evaluation" / "predictions.png"
    assert "![fashion_mlp](images/gallery/fashion_mlp.png)" in entry.text


def test_a_model_that_answers_shows_its_answer(runs):
    text = entry_of(runs / "ngram_lm").text
    assert "| after 'so gazed' | probability |\n| --- | --- |\n| " in text
    assert "python -m train.predict runs/ngram_lm --context 'so gazed'\n" in text


def test_a_run_that_no_flags_give_has_no_training_command(mlp, data_dir):
    recipe = tiny_recipe("fashion_mlp", optimizer=Adam())
    values = json.loads((mlp / "recipe.json").read_text())
    (mlp / "recipe.json").write_text(json.dumps({**values, **recipe.to_json()}))
    text = entry_of(mlp).text
    assert "train.run" not in text and "train.evaluate runs/mlp" in text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["mlp", "mlp"], "is a second run of fashion_mlp: give one run for each model"),
        (["nowhere"], "nowhere is not a run folder"),
        (["empty"], "empty has no metrics: train it"),
        (["mlp"], "has no lines <!-- table --> and <!-- end -->"),
    ],
)
def test_an_error_leaves_the_page_as_it_was(names, message, runs, mlp, tmp_path, monkeypatch):
    shutil.copytree(mlp, tmp_path / "empty", ignore=shutil.ignore_patterns("metrics.jsonl"))
    monkeypatch.chdir(tmp_path)
    Path("page.md").write_text("mine")
    with pytest.raises(ValueError, match=message):
        main(["gallery", *names, "--write", "page.md"])
    assert Path("page.md").read_text() == "mine" and not Path("images").exists()
