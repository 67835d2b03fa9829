"""The training command: what a run folder holds, resuming to the bit, and bad arguments."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.conftest import tiny_recipe
from train.engine.loop import DivergedError, train
from train.engine.run_folders import read_recipe
from train.engine.runs import load_run
from train.recipes import RECIPES, recipe_from_json

TINY = [
    "--options", "channels", "4", "hidden_features", "32",
    "--batch-size", "16", "--take", "64", "--log-every", "2",
]  # fmt: skip


def command(module: str, *arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    """python -m module in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        **options,
    )


def states_are_equal(a: Path, b: Path) -> bool:
    same = jax.tree.map(np.array_equal, load_run(a).state, load_run(b).state)
    return all(jax.tree.leaves(same))


def test_a_run_folder_describes_itself(trained_run):
    names = {path.name for path in trained_run.iterdir()} - {"export"}
    assert names == {"recipe.json", "data.json", "metrics.jsonl", "checkpoints", "samples", "curves.png"}
    assert read_recipe(trained_run).to_json() == tiny_recipe().to_json()
    records = [json.loads(line) for line in (trained_run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4, 6]
    assert all(np.isfinite(record["generator_loss"]) for record in records)
    checkpoints = {path.name for path in (trained_run / "checkpoints").iterdir()}
    assert checkpoints == {"4", "6"}  # every epoch, and the end
    from PIL import Image

    with Image.open(trained_run / "samples" / "samples_000006.png") as sheet:
        assert sheet.size == (484, 484) and len(np.unique(np.asarray(sheet))) > 10


def test_the_same_seed_trains_to_the_same_bits(trained_run, data_dir, tmp_path):
    train(tiny_recipe(), tmp_path / "again", data_dir)
    assert states_are_equal(trained_run, tmp_path / "again")
    train(tiny_recipe(seed=1), tmp_path / "other", data_dir)
    assert not states_are_equal(trained_run, tmp_path / "other")


def test_many_steps_in_one_call_mean_the_same(trained_run, data_dir, tmp_path):
    train(tiny_recipe(steps_per_call=4), tmp_path / "scan", data_dir)
    one, many = (load_run(path).state for path in (trained_run, tmp_path / "scan"))
    assert int(many.step) == 6
    difference = jax.tree.map(lambda a, b: np.abs(a - b).max(), one.params, many.params)
    assert max(jax.tree.leaves(difference)) < 1e-5


def test_a_finished_run_is_left_as_it_is(trained_run, data_dir, tmp_path, capsys):
    shutil.copytree(trained_run, tmp_path / "run")
    train(tiny_recipe(), tmp_path / "run", data_dir)
    assert "going on from step 6" in capsys.readouterr().out
    assert states_are_equal(trained_run, tmp_path / "run")


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.time() + 120
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.time() < deadline, f"{path} did not come"
        time.sleep(0.02)


def start(data_dir: Path, cwd: Path, steps: int = 300) -> subprocess.Popen:
    arguments = [
        "--model",
        "dcgan",
        *TINY,
        "--steps",
        str(steps),
        "--checkpoint-every",
        "50",
        "--data-dir",
        data_dir,
    ]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(data_dir.parent / "xla-of-commands")}
    return subprocess.Popen(
        [sys.executable, "-m", "train.run", *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **cache},
    )  # fmt: skip


def run_to_the_end(data_dir: Path, cwd: Path) -> tuple[int, str]:
    with start(data_dir, cwd) as process:
        output, _ = process.communicate(timeout=300)
    return process.returncode, output


@pytest.fixture(scope="module")
def undisturbed(data_dir, tmp_path_factory):
    cwd = tmp_path_factory.mktemp("undisturbed")
    returncode, output = run_to_the_end(data_dir, cwd)
    assert returncode == 0, output
    return cwd / "runs" / "dcgan", output


def test_the_command_reports_its_run(undisturbed):
    workdir, output = undisturbed
    assert "compiled in" in output and "step 300/300" in output and "examples/s" in output
    assert f"python -m convert to-torch {Path('runs/dcgan')}" in output
    assert {"50", "300"} & {path.name for path in (workdir / "checkpoints").iterdir()} == {"300"}


def test_killed_and_run_again_it_ends_with_the_same_bits(undisturbed, data_dir, tmp_path):
    with start(data_dir, tmp_path) as process:
        wait_for(tmp_path / "runs" / "dcgan" / "checkpoints" / "100", process)
        process.kill()
    returncode, output = run_to_the_end(data_dir, tmp_path)
    assert returncode == 0 and "going on from step" in output
    assert states_are_equal(undisturbed[0], tmp_path / "runs" / "dcgan")
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "runs/dcgan/metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(2, 301, 2))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first_and_says_how_to_go_on(number, undisturbed, data_dir, tmp_path):
    with start(data_dir, tmp_path) as process:
        wait_for(tmp_path / "runs" / "dcgan" / "checkpoints" / "50", process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in output
    assert f"{number.name}: saved step" in output and "run the same command again" in output
    saved = int(load_run(tmp_path / "runs" / "dcgan").state.step)
    assert 50 <= saved < 300
    _, output = run_to_the_end(data_dir, tmp_path)
    assert f"going on from step {saved}" in output
    assert states_are_equal(undisturbed[0], tmp_path / "runs" / "dcgan")


def test_a_nan_stops_the_run_and_names_the_step(data_dir, tmp_path):
    from train.optim import Adam

    recipe = tiny_recipe(steps=20, generator_optimizer=Adam(lr=float("inf")))
    with pytest.raises(DivergedError, match=r"loss is nan at step \d+; the last checkpoint is kept"):
        train(recipe, tmp_path / "run", data_dir)


def test_a_damaged_checkpoint_is_passed_over_and_said(trained_run, data_dir, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(trained_run, workdir)
    for file in (workdir / "checkpoints" / "6").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10])
    train(tiny_recipe(), workdir, data_dir)
    output = capsys.readouterr().out
    assert "checkpoint 6 is damaged" in output and "going on from step 4" in output
    assert states_are_equal(trained_run, workdir)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model is needed: linear_regression, "),
        (["--model", "dcgam"], "unknown model 'dcgam': did you mean dcgan"),
        (["--model", "dcgan", "--dataset", "digit"], "unknown dataset 'digit': did you mean digits?"),
        (["--model", "dcgan", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--model", "dcgan", "--batch-size", "some"], "--batch-size"),
        (
            ["--model", "dcgan", "--batchsize", "3"],
            "unknown argument '--batchsize': did you mean --batch-size",
        ),
        (["--model", "dcgan", "--steps", "0"], "--steps must be at least 1"),
    ],
)
def test_bad_arguments_get_one_line_and_status_2_without_jax(arguments, message, tmp_path):
    script = f"import sys; sys.argv = ['x', *{arguments!r}]; from train.run import *; "
    script += (
        "\ntry: run_command(PROG, main)\nfinally: print(sorted({'jax', 'torch', 'flax'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2 and result.stdout == "[]\n"
    assert result.stderr.count("\n") == 1 and message in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "1501"], "batch_size must be from 1 to the data set's 1500 examples, got 1501"),
        (["--options", "chanels", "4"], "dcgan has no option chanels: there are channels"),
        (["--dataset", "mnist"], "--dataset digits"),
    ],
)
def test_what_only_the_data_can_tell_gets_one_line_too(arguments, message, data_dir, tmp_path):
    result = command("train.run", "--model", "dcgan", "--data-dir", data_dir, *arguments, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_list_and_help_answer_without_jax(tmp_path):
    for arguments, expected in (
        (["--list"], "digits"),
        (["--help"], "--model NAME --help"),
        (["--model", "dcgan", "--help"], "--generator-optimizer.lr"),
    ):
        script = f"import sys; sys.argv = ['x', *{arguments!r}]; from train.run import *; "
        script += "\ntry: run_command(PROG, main)\nfinally: assert 'jax' not in sys.modules"
        result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0 and expected in result.stdout


class TestFolders:
    """What prepare_workdir allows and refuses."""

    def prepare(self, workdir, recipe=None, resume=True):
        from train.engine.run_folders import prepare_workdir

        return prepare_workdir(recipe or tiny_recipe(), workdir, resume)

    def test_a_new_folder_and_the_same_run_are_fine(self, trained_run, tmp_path):
        assert self.prepare(tmp_path / "new") is None
        assert self.prepare(trained_run) is None
        assert self.prepare(trained_run, tiny_recipe(steps=60, log_every=7)) is None

    def test_a_run_of_another_model_is_refused(self, trained_run, tmp_path):
        workdir = tmp_path / "run"
        shutil.copytree(trained_run, workdir)
        values = json.loads((workdir / "recipe.json").read_text())
        (workdir / "recipe.json").write_text(json.dumps({**values, "model": "lenet"}))
        with pytest.raises(ValueError, match="holds a run of lenet, not of dcgan: choose another --workdir"):
            self.prepare(workdir)

    def test_a_recipe_that_cannot_be_read_is_named(self, trained_run, tmp_path):
        workdir = tmp_path / "run"
        shutil.copytree(trained_run, workdir)
        for text in ("{", "[]", "{}"):
            (workdir / "recipe.json").write_text(text)
            with pytest.raises(ValueError, match=r"recipe\.json"):
                self.prepare(workdir)

    def test_another_recipe_is_refused_with_what_differs(self, trained_run):
        with pytest.raises(ValueError, match=r"has batch_size 16 \(now 32\), seed 0 \(now 1\)"):
            self.prepare(trained_run, tiny_recipe(batch_size=32, seed=1))

    def test_a_folder_of_other_things_is_refused(self, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(ValueError, match="is not a run folder"):
            self.prepare(tmp_path)

    def test_no_resume_keeps_the_old_run_aside(self, trained_run, tmp_path):
        workdir = tmp_path / "run"
        shutil.copytree(trained_run, workdir)
        assert self.prepare(workdir, resume=False) == tmp_path / "run-1"
        assert not workdir.exists() and (tmp_path / "run-1" / "metrics.jsonl").exists()


def test_recipes_survive_json():
    for recipe in RECIPES.values():
        values = json.loads(json.dumps(recipe.to_json()))
        assert recipe_from_json(values, recipe) == recipe
    with pytest.raises(ValueError, match="unknown field 'colour'"):
        recipe_from_json({"model": "dcgan", "colour": 1}, RECIPES["dcgan"])
