"""The bridge from the command line: a run to torch, and back to a run that continues."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import torch

from convert.__main__ import PROG, main
from convert.runs import run_from_torch, run_to_torch
from convert.weights import ConversionError
from tests.compilation import quicken
from tests.conftest import plain_gan
from train.command_line import run_command
from train.engine.runs import load_run

pytestmark = pytest.mark.standard_promotion("training runs under jax's default promotion")


@pytest.fixture(scope="module")
def exported(trained_run):
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        certificate = run_to_torch(trained_run, lines.append)
    return trained_run, certificate, lines


def test_to_torch_writes_weights_scripts_and_certificate(exported):
    workdir, certificate, lines = exported
    assert certificate.passed, str(certificate)
    assert certificate.weights == "trained weights of step 6"
    names = {path.name for path in (workdir / "export").iterdir()}
    assert names == {"model.pth", "optimizer.pth", "generator.torchscript.pt", "certificate.json"}
    values = json.loads((workdir / "export" / "certificate.json").read_text())
    assert values["passed"] and values["options"] == plain_gan().options
    assert any("loads without this project" in line for line in lines)


def test_the_weights_are_those_of_the_last_checkpoint(exported):
    workdir, _, _ = exported
    state = torch.load(workdir / "export" / "model.pth", weights_only=True)
    ours = load_run(workdir).model
    assert np.array_equal(
        state["generator.fc.0.weight"].numpy().T, np.asarray(ours.generator.fc[0].weight[...])
    )
    assert int(state["generator.fc.3.num_batches_tracked"]) == 12  # the generator runs twice a step


def test_back_in_flax_everything_is_the_same_to_the_bit(exported, tmp_path, monkeypatch):
    workdir, _, _ = exported
    monkeypatch.setattr("convert.runs.find_recipe", lambda model: plain_gan())
    export = workdir / "export"
    run_from_torch(
        export / "model.pth", "mlp_gan", tmp_path / "back", export / "optimizer.pth", say=lambda line: None
    )
    before, after = load_run(workdir).state, load_run(tmp_path / "back").state
    assert int(after.step) == 0
    assert float(before.optimizers["generator"].exp_avg["fc"][0]["weight"].std()) > 0
    same = jax.tree.map(np.array_equal, before._replace(step=after.step), after)
    assert all(jax.tree.leaves(same))


def test_weights_that_do_not_fit_make_no_run(exported, tmp_path):
    workdir, _, _ = exported
    with pytest.raises(ConversionError, match=r"misshapen generator\.fc\.0\.weight"):
        other = {"hidden_features": 9}
        run_from_torch(workdir / "export" / "model.pth", "mlp_gan", tmp_path / "new", options=other)
    assert not (tmp_path / "new").exists()


def test_a_folder_in_use_is_left_alone(exported, tmp_path):
    workdir, _, _ = exported
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        run_from_torch(workdir / "export" / "model.pth", "mlp_gan", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="not a file of tensors"):
        run_from_torch(tmp_path / "evil.pth", "linear_regression", tmp_path / "new")


def test_a_damaged_last_checkpoint_is_skipped(exported, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(exported[0], workdir)
    for file in (workdir / "checkpoints" / "6").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    run = load_run(workdir)
    assert int(run.state.step) == 4 and "checkpoint 6 is damaged" in run.faults[0]
    assert (workdir / "checkpoints" / "6").is_dir(), "reading a run deletes nothing of it"


def run_in_process(monkeypatch, *arguments: str) -> None:
    """The command line of `python -m convert`, in this process."""
    monkeypatch.setattr("sys.argv", ["convert", *arguments])
    monkeypatch.setattr("convert.__main__._use_compilation_cache", lambda: None)  # the tests have their own
    run_command(PROG, main)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["to-torch", "nowhere"], "nowhere is not a run folder"),
        (["to-flax", "nowhere.pth", "--model", "linear_regression"], "there is no file nowhere.pth"),
        (["to-flax", "x.pth", "--model", "dcgam"], "unknown model 'dcgam': did you mean dcgan"),
        (["verify", "--model", "dcgam"], "unknown model 'dcgam': did you mean dcgan"),
        (["summary", "--model", "lenet5", "--options", "depth", "3"], "lenet5 has no option depth"),
        (["table", "nowhere"], "nowhere is not a run folder"),
    ],
)
def test_a_bad_value_gets_one_line_and_status_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_in_process(monkeypatch, *arguments)
    shown = capsys.readouterr()
    assert stopped.value.code == 2 and shown.out == ""
    assert shown.err.startswith("python -m convert: ") and shown.err.count("\n") == 1 and message in shown.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify"], "--model"),
        (["to-troch", "x"], "to-troch"),
        (["verify", "--model", "dcgan", "--tny"], "--tny"),
    ],
)
def test_bad_flags_get_status_2_and_name_the_flag(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_in_process(monkeypatch, *arguments)
    shown = capsys.readouterr()
    assert stopped.value.code == 2 and shown.out == "" and message in shown.err
    assert not list(tmp_path.iterdir())


def test_the_commands_run_as_a_module(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "convert", "to-torch", "nowhere"], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and "nowhere is not a run folder" in result.stderr


def test_verify_shows_a_certificate_and_writes_it(tmp_path, monkeypatch, capsys):
    file = tmp_path / "certificate.json"
    run_in_process(monkeypatch, "verify", "--model", "linear_regression", "--tiny", "--json", str(file))
    assert "the twins agree" in capsys.readouterr().out
    assert json.loads(file.read_text())["passed"] is True


def test_a_certificate_that_fails_has_status_1(monkeypatch, capsys):
    monkeypatch.setattr("convert.certificate.calls.difference", lambda *_: 1.0)
    with pytest.raises(SystemExit) as stopped:
        run_in_process(monkeypatch, "verify", "--model", "linear_regression", "--tiny")
    assert stopped.value.code == 1 and "THE TWINS DO NOT AGREE" in capsys.readouterr().out


def test_summary_shows_both_twins_layer_by_layer(monkeypatch, capsys):
    run_in_process(monkeypatch, "summary", "--model", "lenet5")
    shown = capsys.readouterr().out
    assert "28x28x6" in shown and "6x28x28" in shown  # the same output in both layouts
    assert shown.count("61,706") == 2  # the parameters of both
