"""Classifiers and regressions: training, early stopping, the test split, and the commands on their runs."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from convert.certificate.masks import given_masks

import torch_models
from convert import to_torch
from convert.certificate.results_table import markdown
from convert.runs import run_from_torch, run_to_torch
from convert.summary import summarise
from tests.conftest import tiny_recipe
from torch_models.steps.supervised import SUPERVISED_LOSSES
from train.engine.evaluation import Evaluation
from train.engine.loop import train
from train.engine.metrics import read_metrics
from train.engine.run_folders import read_recipe
from train.engine.runs import load_run
from train.engine.steps import fast_steps_per_call
from train.evaluate import evaluate
from train.optim import SGD
from train.recipes import load_recipe_data
from train.tasks import build_task
from train.tasks.losses.supervised import PER_EXAMPLE, binary_cross_entropy
from train.tasks.models import build_model


@pytest.fixture(scope="module")
def classifier(tmp_path_factory, data_dir):
    """A finished run of a small MLP on the digits, four epochs."""
    workdir = tmp_path_factory.mktemp("runs") / "mlp"
    recipe = tiny_recipe(
        "fashion_mlp", take=None, steps=None, epochs=4, batch_size=100, optimizer=SGD(lr=0.1, momentum=0.9)
    )
    train(recipe, workdir, data_dir)
    return workdir


def test_training_and_test_figures_are_in_the_records(classifier):
    records = read_metrics(classifier)
    judged = [record for record in records if "test_accuracy" in record]
    assert [record["epoch"] for record in judged] == [1, 2, 3, 4]
    assert {"loss", "accuracy", "test_loss", "seconds"} <= judged[-1].keys()
    assert judged[-1]["test_accuracy"] > 0.8 > judged[0]["test_accuracy"] - 0.2
    assert all(a["seconds"] < b["seconds"] for a, b in itertools.pairwise(records))


def test_the_last_partial_batch_of_the_test_split_counts(classifier, data_dir):
    run = load_run(classifier)
    data, task = load_recipe_data(run.recipe, data_dir), build_task(run.recipe, run.model)
    figures = Evaluation(task, data.test, 64)(run.state)  # 297 = 4 * 64 + 41
    outputs = task.predict(run.state, task.prepare_test({k: jnp.asarray(v) for k, v in data.test.items()}))
    loss = F.cross_entropy(torch.tensor(np.asarray(outputs)), torch.tensor(data.test["label"]).long())
    assert figures["test_accuracy"] == pytest.approx((outputs.argmax(1) == data.test["label"]).mean())
    assert figures["test_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert read_metrics(classifier)[-1]["test_accuracy"] == pytest.approx(figures["test_accuracy"])


def test_evaluate_writes_figures_and_pictures(classifier, data_dir, capsys):
    from train.evaluate import main

    main([str(classifier), "--data-dir", str(data_dir)])
    assert "most often taken for" in capsys.readouterr().out
    values = json.loads((classifier / "evaluation" / "evaluation.json").read_text())
    confusion = np.array(values["confusion"])
    assert values["examples"] == confusion.sum() == 297
    assert values["accuracy"] == pytest.approx(confusion.trace() / 297)
    assert values["class_accuracies"]["7"] == pytest.approx(confusion[7, 7] / confusion[7].sum())
    names = {path.name for path in (classifier / "evaluation").iterdir()}
    assert names == {"evaluation.json", "confusion.png", "predictions.png"}


def test_only_classifiers_are_evaluated(trained_run, data_dir):
    with pytest.raises(ValueError, match="holds no classifier"):
        evaluate(trained_run, data_dir)


def test_many_steps_in_a_call_are_the_steps_one_by_one(classifier, data_dir, tmp_path):
    recipe = dataclasses.replace(read_recipe(classifier), steps_per_call=1)
    train(recipe, tmp_path / "one", data_dir)
    assert fast_steps_per_call(build_model(recipe)) > 1
    ours, theirs = (load_run(path).state for path in (tmp_path / "one", classifier))
    largest = jax.tree.map(lambda a, b: np.abs(a - b).max(), ours.params, theirs.params)
    assert max(jax.tree.leaves(largest)) < 1e-5


def test_a_run_stops_at_the_first_step_below_the_loss(data_dir, tmp_path, capsys):
    recipe = dataclasses.replace(
        tiny_recipe("linear_regression", take=None, batch_size=None), steps=400, log_every=100, stop_below=0.6
    )
    train(recipe, tmp_path / "run", data_dir)
    stopped = int(load_run(tmp_path / "run").state.step)
    train(dataclasses.replace(recipe, log_every=1, stop_below=None), tmp_path / "whole", data_dir)
    losses = [record["loss"] for record in read_metrics(tmp_path / "whole")]
    assert stopped == next(step for step, loss in enumerate(losses, 1) if loss < 0.6)
    capsys.readouterr()
    train(recipe, tmp_path / "run", data_dir)  # it is finished, and stays so
    assert int(load_run(tmp_path / "run").state.step) == stopped
    assert "compiled" not in capsys.readouterr().out
    assert (tmp_path / "run" / "samples" / f"fit_{stopped:06d}.png").exists()


@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_losses_are_torchs(name):
    rng = np.random.default_rng(0)
    outputs, targets = rng.standard_normal((7, 5)), rng.standard_normal((7, 5))
    if name in ("cross_entropy", "nll"):
        targets = rng.integers(0, 5, 7)
    if name == "bce":
        outputs, targets = rng.uniform(size=(7, 5)), rng.integers(0, 2, (7, 5)).astype(float)
        outputs[0] = [0, 1, 0, 1, 0.5]  # where the logarithm ends
    theirs = SUPERVISED_LOSSES[name]
    x = torch.tensor(outputs, requires_grad=True)
    expected = theirs(x, torch.tensor(targets))
    expected.backward()
    reduce = jnp.sum if name == "sse" else jnp.mean
    with jax.enable_x64(True):
        loss = lambda x: reduce(PER_EXAMPLE[name](x, jnp.asarray(targets)))  # noqa: E731
        value, gradient = jax.value_and_grad(loss)(jnp.asarray(outputs))
    assert float(value) == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-12)


def test_bce_has_a_second_derivative():
    with jax.enable_x64(True):
        second = jax.grad(jax.grad(lambda p: binary_cross_entropy(p, 1.0)))(0.25)
    assert float(second) == pytest.approx(1 / 0.25**2)


def test_masks_are_a_queue_that_must_come_out_even():
    layer, x = torch.nn.Dropout(0.5), torch.ones(2, 2)
    mask = np.array([[True, False], [False, True]])
    with given_masks([mask]):
        assert layer(x).tolist() == [[2, 0], [0, 2]]
    with pytest.raises(ValueError, match="more dropout layers"), given_masks([]):
        layer(x)
    with pytest.raises(ValueError, match="fewer dropout layers"), given_masks([mask]):
        pass
    with given_masks([]):
        assert layer.eval()(x).equal(x)


def test_a_transform_that_does_not_fit_leaves_nothing_behind(tmp_path, data_dir):
    recipe = tiny_recipe("lenet", transforms=("random_crop:40",))
    with pytest.raises(ValueError, match="random_crop:40 is larger than the image, 28x28"):
        train(recipe, tmp_path / "run", data_dir)
    assert not (tmp_path / "run").exists()


class TestHeads:
    """Weights of another number of classes, as a file of torchvision's keys holds them."""

    OPTIONS = {"width": 8}  # noqa: RUF012

    @pytest.fixture
    def file(self, tmp_path):
        torch.manual_seed(0)
        torch.save(torch_models.MODELS["resnet18"](1000, **self.OPTIONS).state_dict(), tmp_path / "w.pth")
        return tmp_path / "w.pth"

    def test_without_being_asked_nothing_is_replaced(self, file, tmp_path):
        with pytest.raises(ValueError, match=r"fc\.weight is \(1000, 64\).*--replace-head begins a new head"):
            run_from_torch(file, "resnet18", tmp_path / "run", options=self.OPTIONS)
        assert not (tmp_path / "run").exists()

    def test_a_new_head_trains_and_goes_back_to_torch(self, file, data_dir, tmp_path):
        said = []
        run_from_torch(
            file, "resnet18", tmp_path / "run", options=self.OPTIONS, replace_head=True, say=said.append
        )
        assert "begun anew for 2 classes: fc.weight, fc.bias" in said
        recipe = dataclasses.replace(
            read_recipe(tmp_path / "run"), steps=2, batch_size=8, take=64, image_size=32
        )
        train(recipe, tmp_path / "run", data_dir)
        trained = load_run(tmp_path / "run")
        theirs = torch_models.MODELS["resnet18"](2, **self.OPTIONS)
        theirs.load_state_dict(to_torch(trained.model, theirs).state_dict())
        before = torch.load(file, weights_only=True)
        after = theirs.state_dict()
        assert list(before) == list(after)
        moved = (before["layer1.0.conv1.weight"] - after["layer1.0.conv1.weight"]).abs().max()
        assert 0 < float(moved) < 0.1  # trained on from the file's weights

    def test_the_files_own_head_can_be_kept(self, file, tmp_path):
        run_from_torch(
            file, "resnet18", tmp_path / "run", options={**self.OPTIONS, "num_classes": 1000}, say=str
        )
        assert read_recipe(tmp_path / "run").options["num_classes"] == 1000


def test_the_options_of_a_run_are_kept_when_it_goes_on(tmp_path):
    from train.engine.run_folders import with_options_of
    from train.recipes import RECIPES

    (tmp_path / "recipe.json").write_text(json.dumps({"model": "resnet18", "options": {"num_classes": 7}}))
    recipe = RECIPES["resnet18"]
    assert with_options_of(tmp_path, recipe).options == {"num_classes": 7}
    assert with_options_of(tmp_path / "new", recipe) is recipe


def test_summary_counts_the_same_on_both_sides(capsys):
    rows = summarise("lenet5")
    assert sum(row.flax_parameters for row in rows) == 61_706
    assert all(row.flax_parameters == row.torch_parameters for row in rows)
    first = rows[0]
    assert (first.path, first.kind, first.flax_shape, first.torch_shape) == (
        "conv.0", "Conv2d", "28x28x6", "6x28x28"
    )  # fmt: skip
    from convert.summary import main

    main(["--model", "dcgan", "--options", "channels", "4"])
    assert "generator.fc.0" in capsys.readouterr().out


def test_the_table_of_runs_is_made_of_what_is_in_them(classifier, tmp_path):
    from convert.__main__ import BEGIN, END, main

    with pytest.raises(ValueError, match="no metrics or no certificate"):
        markdown([classifier])
    run_to_torch(classifier, lambda line: None)
    page = tmp_path / "models.md"
    rows = "| model | data |\n| --- | --- |\n| dcgan | kept |\n| fashion_mlp | old |\n| nothing | old |\n"
    page.write_text(f"# Models\n{BEGIN}\n{rows}\nold\n{END}\nafter\n")
    main(["table", str(classifier), "--write", str(page)])
    text = page.read_text()
    assert text.startswith("# Models\n") and text.endswith("after\n") and "old" not in text
    assert text.index("| fashion_mlp |") < text.index("| dcgan | kept |")  # of another run, and still there
    cells = next(line for line in text.splitlines() if line.startswith("| fashion_mlp")).split(" | ")
    accuracy = read_metrics(classifier)[-1]["test_accuracy"]
    assert cells[2:5] == ["digits", "60", f"test accuracy {accuracy:.4g}"]
    assert all(float(cell) < 1e-10 for cell in cells[6:9]) and "FAIL" not in text
