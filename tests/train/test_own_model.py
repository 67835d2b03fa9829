"""A model of the user's own, through the commands, from a folder that holds its module."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.train.runs import run_command
from train import run
from train.engine.metrics import read_metrics

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]
SOURCE = """
import jax
from flax import nnx


class Net(nnx.Module):
    def __init__(self, num_classes: int, hidden: int = 12, *, rngs: nnx.Rngs):
        self.first = nnx.Linear(784, hidden, rngs=rngs)
        self.second = nnx.Linear(hidden, num_classes, rngs=rngs)

    def __call__(self, x):
        return self.second(jax.nn.relu(self.first(x.reshape(len(x), -1))))
"""
MODEL = ["--model", "mine.models:Net", "--task", "classify", "--dataset", "digits"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the package of a user."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "mine").mkdir()
    (folder / "mine" / "__init__.py").touch()
    (folder / "mine" / "models.py").write_text(SOURCE)
    return folder


def in_folder(module: str, *arguments: Any, cwd: Path) -> str:
    """stdout of a command that succeeds."""
    ended = run_command(module, *arguments, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_it_is_trained_resumed_and_evaluated(folder, data_dir, monkeypatch, capsys):
    flags = [*MODEL, "--batch-size", "50", "--data-dir", str(data_dir)]
    output = in_folder("train.run", *flags, "--steps", "2", cwd=folder)
    workdir = folder / "runs" / "Net"
    assert "mine.models:Net on digits" in output
    assert "convert to-torch" not in output  # it has no torch twin in the catalogue
    assert json.loads((workdir / "recipe.json").read_text())["options"] == {"num_classes": 10}
    monkeypatch.chdir(folder)
    run.main([*flags, "--steps", "4"])
    assert f"continuing from step 2 in {Path('runs/Net')}" in capsys.readouterr().out
    assert read_metrics(workdir)[-1]["step"] == 4
    output = in_folder("train.evaluate", "runs/Net", "--data-dir", data_dir, cwd=folder)
    values = json.loads((workdir / "evaluation" / "evaluation.json").read_text())
    assert values["examples"] == 297 and f"accuracy {values['accuracy']:.4f}" in output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "mine.model:Net", *MODEL[2:]], "the model mine.model:Net cannot be imported: No module"),
        (["--model", "mine.models:Nat", *MODEL[2:]], "the model mine.models:Nat cannot be imported: module"),
        ([*MODEL, "--options", "hiden", "3"], "mine.models:Net has no option hiden: there are hidden, num_"),
        ([*MODEL[:3], "gan", *MODEL[4:]], "mine.models:Net lacks generator, discriminator, which the task"),
    ],
)
def test_what_does_not_suit_is_one_line_and_makes_no_folder(flags, message, folder, data_dir, monkeypatch):
    monkeypatch.chdir(folder)
    workdir = ["--workdir", str(folder / "refused"), "--data-dir", str(data_dir)]
    with pytest.raises(ValueError, match=message) as error:
        run.main([*flags, *workdir])
    assert "\n" not in str(error.value)
    assert not (folder / "refused").exists()
