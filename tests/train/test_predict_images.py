"""The classes of image files: the command, its page, and `Run.classify`."""

import dataclasses
import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.conftest import tiny_recipe
from train import predict
from train.data.load import load_data
from train.engine.loop import train
from train.engine.runs import fit, load_run
from train.tasks import classify

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]


@pytest.fixture(scope="module")
def digits(data_dir):
    """Test images of the digits, (297, 28, 28, 1) uint8."""
    return load_data("digits", data_dir, kind="image").test["image"]  # type: ignore[index]


@pytest.fixture(scope="module")
def files(digits, tmp_path_factory):
    """Three digits as files: grey, in colour at twice the size, and lying on its side as EXIF says."""
    folder = tmp_path_factory.mktemp("files")
    grey = [Image.fromarray(image[..., 0]) for image in digits[:3]]
    grey[0].save(folder / "0.png")
    grey[1].convert("RGB").resize((56, 56), Image.Resampling.BICUBIC).save(folder / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    grey[2].transpose(Image.Transpose.ROTATE_90).save(folder / "2.png", exif=exif)
    return [folder / f"{number}.png" for number in range(3)]


@pytest.fixture(scope="module")
def run(classifier):
    return load_run(classifier)


def softmax(outputs: np.ndarray) -> np.ndarray:
    exponentials = np.exp(outputs - outputs.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def test_files_are_classified_as_the_images_of_training(run, files, digits):
    expected = softmax(run.predict(digits[:3]))
    values = run.answer(files=files, top=10).values
    for (file, classes), path, row, tolerance in zip(values, files, expected, (1e-6, 0.1, 1e-6), strict=True):
        assert file == str(path) and len(classes) == 10
        assert [p for _, p in classes] == sorted((p for _, p in classes), reverse=True)
        assert sum(p for _, p in classes) == pytest.approx(1, abs=1e-5)
        assert all(abs(p - row[int(name)]) < tolerance for name, p in classes)
    assert run.classify(files) == run.classify([str(file) for file in files]) == [c[0][0] for _, c in values]
    assert run.classify(files)[::2] == run.classify(digits[:3])[::2]
    assert [len(classes) for _, classes in run.answer(files=files).values] == [5, 5, 5]


def test_the_command_prints_a_table_and_writes_a_page(classifier, files, capsys, monkeypatch):
    monkeypatch.setattr(classify, "FILES_PER_CALL", 2)
    predict.main([str(classifier), *map(str, files), "--top", "2"])
    output = capsys.readouterr().out
    assert output.count("0.png") == 1 and output.count("│") == 4 * 6 and "probability" in output
    assert output.endswith(f"wrote {classifier / 'prediction'}/: predictions.json, predictions.png\n")
    written = json.loads((classifier / "prediction" / "predictions.json").read_text())
    assert [one["image"] for one in written] == [str(file) for file in files]
    assert [len(one["classes"]) for one in written] == [2, 2, 2]
    assert written[0]["classes"][0].keys() == {"class", "probability"}
    with Image.open(classifier / "prediction" / "predictions.png") as page:
        assert page.width > 300 and len(np.unique(np.asarray(page))) > 10


def test_the_page_has_the_first_images(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr(classify, "NUM_SHOWN", 2)
    answer = run.answer(files=files)
    assert answer.note == "the page has the first 2 images" and len(answer.values) == 3
    assert answer.save(tmp_path) == ["predictions.json", "predictions.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "fashion_mlp needs the argument FILES"),
        (["FILE", "--top", "0"], "top must be at least 1, got 0"),
        (["FILE", "--context", "a b"], "fashion_mlp does not take --context; it takes FILES, --top"),
        (["FILE", "broken.png"], r"broken\.png cannot be read as an image: cannot identify"),
        (["FILE", "missing.png"], r"missing\.png cannot be read as an image: .*No such file"),
    ],
)
def test_a_question_that_does_not_suit_is_an_error_of_one_line(
    arguments, message, classifier, files, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=message) as error:
        predict.main([str(classifier), *(str(files[0]) if one == "FILE" else one for one in arguments)])
    assert "\n" not in str(error.value)


def test_a_run_on_arrays_or_on_a_folder_knows_the_size_of_its_images(files, digits, tmp_path):
    labels = np.arange(20) % 2
    options: dict[str, Any] = {"steps": 1, "options": {"hidden_features": 4}, "quiet": True, "batch_size": 4}
    of_arrays = fit("fashion_mlp", tmp_path / "arrays", (digits[:20], labels), **options)
    assert of_arrays.meta["image_shape"] == [28, 28, 1] and len(of_arrays.classify(files)) == 3
    of_floats = fit("fashion_mlp", tmp_path / "floats", (digits[:20] / 255, labels), **options)
    assert np.allclose(of_floats.predict(digits[:3]), of_arrays.predict(digits[:3]), atol=1e-4)


def test_a_run_that_has_no_images_refuses_files(files, tmp_path):
    recipe = tiny_recipe("logistic_regression", batch_size=None, take=None, steps=1, options={})
    train(recipe, tmp_path / "run", tmp_path, quiet=True)
    with pytest.raises(ValueError, match="logistic_regression was not trained on images"):
        predict.main([str(tmp_path / "run"), str(files[0])])


def test_a_run_with_preprocessing_refuses_files(run, files, monkeypatch):
    monkeypatch.setattr(run.task, "recipe", dataclasses.replace(run.recipe, preprocess=("center",)))
    with pytest.raises(ValueError, match="the preprocessing center was fitted in training"):
        run.classify(files)


def test_probabilities_of_every_loss():
    logits = np.array([[0.0, 1.0], [2.0, -1.0]], np.float32)
    expected = softmax(logits)
    outputs = {"cross_entropy": logits, "nll": np.log(expected), "bce": expected[:, 1:]}
    for loss, array in outputs.items():
        assert np.allclose(classify.class_probabilities(jnp.asarray(array), loss), expected), loss
