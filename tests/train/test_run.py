"""The training command: its flags, its errors, and runs that are killed or interrupted and resumed."""

import contextlib
import io
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.train.runs import call_commands, run_command, start_command, states_are_equal
from train import run
from train.data.datasets import DATASETS
from train.engine.loop import train
from train.engine.run_folders import read_recipe
from train.engine.runs import load_run
from train.recipes import RECIPES

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]

REFUSED = {
    "no model": ([], "--model is needed: linear_regression, "),
    "an unknown model": (["--model", "dcgam"], "unknown model 'dcgam': did you mean dcgan"),
    "a model without its name": (["--model"], "argument --model: expected one argument"),
    "an unknown data set": (
        ["--model", "dcgan", "--dataset", "digit"],
        "unknown dataset 'digit': did you mean digits",
    ),
    "a batch of none": (["--model", "dcgan", "--batch-size", "0"], "batch_size must be at least 1, got 0"),
    "no steps": (["--model", "dcgan", "--steps", "0"], "steps must be at least 1, got 0"),
    "another task": (
        ["--model", "dcgan", "--task", "classify"],
        "dcgan is trained by the task gan, not classify",
    ),
    "a model of one's own without a task": (
        ["--model", "my.module:Model"],
        "my.module:Model is a model of your own: give --task (regress, classify, ",
    ),
    "an unknown task": (
        ["--model", "my.module:Model", "--task", "clasify", "--dataset", "digits"],
        "unknown task 'clasify': did you mean classify",
    ),
    "a loss that a gan does not have": (
        ["--model", "dcgan", "--stop-below", "1"],
        "stop_below watches the metric loss, and the task gan reports discriminator_loss, generator_loss",
    ),
    "a loss that a cyclegan does not have": (
        ["--model", "cyclegan", "--stop-below", "1"],
        "stop_below watches the metric loss, and the task cyclegan reports adversarial_loss, ",
    ),
}
REFUSED_BY_TYRO = {
    "an unknown flag": (["--model", "dcgan", "--batchsize", "3"], ["--batchsize", "--batch-size"]),
    "no number": (["--model", "dcgan", "--batch-size", "some"], ["--batch-size", "'some'"]),
    "an unknown loss": (["--model", "dcgan", "--loss", "bcee"], ["--loss", "bce"]),
}
ANSWERED = {
    "--list": (["--list"], [*RECIPES, *DATASETS, "classify", "random_crop:SIZE", "pca[:K]"]),
    "--help": (["--help"], ["--model NAME --help", "--list"]),
    "--help of a model": (
        ["--model", "dcgan", "--help"],
        ["--generator-optimizer.lr", "--latent-distribution", "--streaming"],
    ),
}


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """{case: the finished command} of all the cases above, and the folder in which they ran."""
    cases = {**REFUSED, **REFUSED_BY_TYRO, **ANSWERED}
    folder = tmp_path_factory.mktemp("refused")
    ended = call_commands([("train.run", arguments) for arguments, _ in cases.values()], folder)
    return dict(zip(cases, ended, strict=True)), folder


@pytest.mark.parametrize("case", REFUSED)
def test_bad_values_get_one_line_and_status_2_without_jax(case, calls):
    call = calls[0][case]
    assert call.status == 2 and call.loaded == [] and call.stdout == ""
    assert call.stderr.count("\n") == 1 and call.stderr.startswith("python -m train.run: ")
    assert REFUSED[case][1] in call.stderr


@pytest.mark.parametrize("case", REFUSED_BY_TYRO)
def test_bad_flags_get_status_2_and_the_near_match_without_jax(case, calls):
    call = calls[0][case]
    assert call.status == 2 and call.loaded == [] and call.stdout == ""
    assert all(part in call.message for part in REFUSED_BY_TYRO[case][1])


@pytest.mark.parametrize("case", ANSWERED)
def test_list_and_help_answer_without_jax(case, calls):
    call = calls[0][case]
    assert call.status == 0 and call.loaded == []
    missing = [part for part in ANSWERED[case][1] if part not in call.stdout]
    assert not missing


def test_a_refused_command_makes_no_folder(calls):
    assert list(calls[1].iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "1501"], "batch_size must be from 1 to the data set's 1500 examples, got 1501"),
        (["--options", "hiden", "4"], "mlp_gan has no option hiden: there are hidden_features"),
        (["--dataset", "mnist"], "--dataset digits"),
    ],
)
def test_what_the_data_or_the_model_refuses_leaves_no_folder(arguments, message, data_dir, tmp_path):
    with pytest.raises(ValueError, match=message):
        workdir = ["--workdir", str(tmp_path / "run"), "--data-dir", str(data_dir)]
        run.main(["--model", "mlp_gan", *workdir, *arguments])
    assert not (tmp_path / "run").exists()


def test_epochs_on_the_command_line_replace_the_steps_of_a_recipe(tmp_path, data_dir):
    workdir = ["--workdir", str(tmp_path / "run"), "--data-dir", str(data_dir)]
    run.main(["--model", "linear_regression", "--epochs", "3", *workdir])
    recipe = read_recipe(tmp_path / "run")
    assert (recipe.epochs, recipe.steps) == (3, None) and int(load_run(tmp_path / "run").state.step) == 3


def test_the_old_summary_command_says_where_it_went(tmp_path):
    ended = run_command("train.summary", "--model", "lenet5", cwd=tmp_path)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr == "python -m train.summary is now: python -m convert summary --model NAME\n"


# Runs that end early. A run of a small GAN has two optimizers, batch statistics, averaged weights, latents
# and shuffled data.

SMALL = [
    "--model", "mlp_gan", "--options", "hidden_features", "8", "--batch-size", "16", "--take", "64",
    "--log-every", "2", "--ema", "0.5",
]  # fmt: skip
WITH_CONVOLUTIONS = [
    "--model", "dcgan", "--options", "channels", "4", "hidden_features", "32", "--batch-size", "16",
    "--take", "64", "--log-every", "2",
]  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Returns when the path exists."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def flags(recipe: list[str], steps: int, every: int, data_dir: Path) -> list[str]:
    lengths = ["--steps", steps, "--checkpoint-every", every, "--sample-every", 100, "--workdir", "run"]
    return [*recipe, *map(str, lengths), "--steps-per-call", "1", "--data-dir", str(data_dir)]


@pytest.fixture(scope="module")
def undisturbed(data_dir, tmp_path_factory):
    """(the folder of a run that was not disturbed, what it printed)."""
    cwd, output = tmp_path_factory.mktemp("undisturbed"), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(output):
        run.main(flags(SMALL, 60, 4, data_dir))
    return cwd / "run", output.getvalue()


def test_the_command_reports_its_run(undisturbed):
    workdir, output = undisturbed
    assert "compiled in" in output and "step 60/60" in output and "examples/s" in output
    assert "python -m convert to-torch run" in output
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"52", "56", "60"}  # the last three


def test_a_run_that_is_killed_and_interrupted_ends_with_the_same_bits(
    undisturbed, data_dir, tmp_path, monkeypatch, capsys
):
    arguments = flags(SMALL, 60, 4, data_dir)
    with start_command("train.run", *arguments, cwd=tmp_path) as process:
        wait_for(tmp_path / "run" / "checkpoints" / "12", process)
        process.kill()
    with start_command("train.run", *arguments, cwd=tmp_path) as process:
        saved, output = interrupt(process, signal.SIGTERM, tmp_path / "run", 24, 60)
    assert "continuing from step" in output
    monkeypatch.chdir(tmp_path)
    run.main(arguments)
    assert f"continuing from step {saved}" in capsys.readouterr().out
    assert states_are_equal(undisturbed[0], tmp_path / "run")
    assert steps_of(undisturbed[0]) == list(range(2, 61, 2))
    assert steps_of(tmp_path / "run") == sorted({*range(2, 61, 2), saved})  # the interrupt logs its own step


def interrupt(
    process: subprocess.Popen[str], number: signal.Signals, workdir: Path, after: int, total: int
) -> tuple[int, str]:
    """(the step at which a run saved after a signal, what it printed).

    after: the checkpoint after which the signal is sent.
    """
    wait_for(workdir / "checkpoints" / str(after), process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in output
    assert f"{number.name}: saved step" in output and "run the same command again" in output
    saved = int(load_run(workdir).state.step)
    assert after <= saved < total
    return saved, output


def steps_of(workdir: Path) -> list[int]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_long_run_with_convolutions_ends_with_the_same_bits(number, data_dir, tmp_path):
    arguments = flags(WITH_CONVOLUTIONS, 300, 50, data_dir)
    with start_command("train.run", *arguments, cwd=tmp_path) as process:
        if number == signal.SIGKILL:
            wait_for(tmp_path / "run" / "checkpoints" / "100", process)
            process.kill()
        else:
            interrupt(process, number, tmp_path / "run", 50, 300)
    ended = run_command("train.run", *arguments, cwd=tmp_path)
    assert ended.returncode == 0 and "continuing from step" in ended.stdout
    assert set(steps_of(tmp_path / "run")) >= set(range(2, 301, 2))
    train(read_recipe(tmp_path / "run"), tmp_path / "whole", data_dir)
    assert states_are_equal(tmp_path / "whole", tmp_path / "run")
