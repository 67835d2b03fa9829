"""The only training loop.

The task defines a step. This module runs it, and logs, saves and evaluates at the intervals of `cadence`. The
step number is the only counter of the loop. The order of the data and all noise follow from (seed, step), so
a run that stops anywhere and resumes from its last checkpoint ends bit for bit like an uninterrupted one.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train.data.feeds import Feed, make_feed
from train.data.sources import Data
from train.engine.cadence import Cadence
from train.engine.checkpoints import Checkpoints
from train.engine.evaluation.split import SplitEvaluator
from train.engine.interrupts import Interrupt
from train.engine.metrics import MetricsLog, is_metric, metric_names
from train.engine.precompute import precompute
from train.engine.progress import Reporter, Stopwatch, duration, print_card
from train.engine.run_folders import saved_steps, write_json
from train.engine.steps import fast_steps_per_call, jit_steps
from train.engine.trained import load_first_weights
from train.lookup import name_some
from train.plotting.animations import save_animations
from train.plotting.curves import save_curves
from train.recipes import RECIPES, Recipe, load_recipe_data
from train.tasks import build_task
from train.tasks.contract import Task
from train.tasks.models import build_model, fit_options
from train.tasks.state import TrainState


class DivergedError(ValueError):
    """A loss is no longer finite. The message names the step."""


def train(
    recipe: Recipe, workdir: Path, data_dir: Path = Path("data"), *, data: Data | None = None,
    model: Any = None, quiet: bool = False,
) -> Recipe:  # fmt: skip
    """Trains a recipe in a run folder, from the folder's last checkpoint or from the first step.

    data: the user's arrays, in place of the recipe's data set. model: the user's model, in place of the
    recipe's model. It is a class or an instance; training starts from the weights of an instance.
    quiet: print nothing.
    Returns the recipe with the model options that were inferred from the data.
    Errors: ValueError for data that does not suit the recipe, and for runs whose weights cannot be the first
    ones; DivergedError.
    """
    data = load_recipe_data(recipe, data_dir, data)
    user_class = model if isinstance(model, type) else None
    instance: Any = None if user_class else model
    is_new = not saved_steps(workdir)
    if instance is None:
        recipe = fit_options(recipe, data.meta, user_class)
        if is_new:
            recipe.require_first_weights()
        instance = build_model(recipe, user_class)
    feed = _feed_of(recipe, data)
    cadence = Cadence.of(recipe, feed)
    report = load_first_weights(recipe, instance) if is_new else []
    task = build_task(replace(recipe, steps=cadence.total), instance)
    workdir.mkdir(parents=True, exist_ok=True)
    with Checkpoints(workdir) as checkpoints, Interrupt() as interrupt:
        state, faults = checkpoints.restore(jax.eval_shape(task.initial_state), delete_damaged=True)
        if state is None and faults:
            raise ValueError(
                f"{'; '.join(faults)}: no checkpoint in {workdir} can be read; they are damaged or were "
                "written with another recipe. --no-resume renames this run and starts a new one"
            )
        state = task.initial_state() if state is None else state
        write_json(workdir / "recipe.json", recipe.to_json())
        write_json(workdir / "data.json", data.meta)
        title = f"{recipe.model} on {recipe.dataset}"
        with Reporter(title, cadence.total, int(state.step), quiet) as reporter:
            if skipped := data.meta.get("skipped"):
                reporter.say(
                    f"skipped {len(skipped)} unreadable files or empty folders: {name_some(skipped)}"
                )
            for line in (*faults, *report):
                reporter.say(line)
            computed = None
            if int(state.step) < cadence.total:
                found = precompute(
                    task, state, data, workdir, reporter.say, lambda: interrupt.received is not None
                )
                if found is None:
                    reporter.say(f"{interrupt.received}: stopped; run the same command again to continue")
                    return recipe
                data, computed = found
            if computed is not None:
                feed = _feed_of(recipe, data)
                cadence = Cadence.of(recipe, feed)
            max_steps_per_call = recipe.steps_per_call or fast_steps_per_call(instance, without=computed)
            loop = Loop(task, data, feed, cadence, max_steps_per_call, workdir, checkpoints, reporter)
            try:
                state = loop.run(state, interrupt)
            finally:
                feed.close()
        if loop.finished:
            loop.summarise(title)
        else:
            reporter.say(
                f"{interrupt.received}: saved step {int(state.step)} of {cadence.total} in {workdir}; "
                "run the same command again to continue"
            )
    return recipe


def _feed_of(recipe: Recipe, data: Data) -> Feed:
    return make_feed(
        data, batch_size=recipe.batch_size, shuffle=recipe.shuffle, seed=recipe.seed,
        take=recipe.take, streaming=recipe.streaming, workers=recipe.workers,
    )  # fmt: skip


class Loop:
    """One invocation of the loop: the task, the data, and the run folder for the results.

    finished: whether the run has reached its last step, or the loss at which it stops.
    """

    def __init__(
        self, task: Task, data: Data, feed: Feed, cadence: Cadence, max_steps_per_call: int, workdir: Path,
        checkpoints: Checkpoints, reporter: Reporter,
    ):  # fmt: skip
        self.task, self.data, self.feed, self.cadence = task, data, feed, cadence
        self.max_steps_per_call = max(1, min(max_steps_per_call, cadence.total))
        self.workdir, self.checkpoints, self.reporter = workdir, checkpoints, reporter
        self.compile_seconds = 0.0
        self.clock = Stopwatch()
        self.finished = False
        self._compiled: Callable[..., Any] | None = None
        self._evaluation = None
        if task.evaluates and data.test is not None:
            self._evaluation = SplitEvaluator(task, data.test, feed.batch_size)
        self._reported = [
            SplitEvaluator(task, split, feed.batch_size, name) for name, split in data.reported.items()
        ]

    def run(self, state: TrainState, interrupt: Interrupt) -> TrainState:
        """The state after the last step, or after an interrupt. It is saved in both cases."""
        step, cadence = int(state.step), self.cadence
        self.log = MetricsLog(self.workdir, step)
        self.finished = step >= cadence.total or self._has_stopped()
        if step:
            self.reporter.say(f"continuing from step {step} in {self.workdir}")
        pending = []  # calls whose losses are still on the device: (first step, length, losses)
        is_last_call = self.finished
        while not is_last_call:
            length = min(self.max_steps_per_call, cadence.until_next(step))
            inputs = self.feed.inputs(step, length)
            state, losses = self._call(state, inputs)(state, inputs, length)
            reached = step + length if self.task.recipe.stop_below is None else int(state.step)
            pending.append((step, reached - step, losses))
            step = reached
            self.reporter.step(step)
            self.finished = step == cadence.total or self._is_below(losses, pending[-1][1])
            is_last_call = self.finished or interrupt.received is not None
            evaluation_due = self.finished or step % cadence.evaluate == 0
            logging_due = step % cadence.log == 0 or step % cadence.checkpoint == 0
            if evaluation_due or is_last_call or logging_due:
                self._log(pending, state, evaluation_due)
                pending = []
            checkpoint_due = step % cadence.checkpoint == 0 or is_last_call
            images_due = step % cadence.images == 0 or self.finished
            if checkpoint_due or images_due:
                jax.block_until_ready(losses)  # or these steps would end while the clock does not run
            with self.clock.paused():
                if checkpoint_due:
                    self.checkpoints.save(state)
                if images_due:
                    self.task.save_images(state, self.data, self._path_at(step))
        self.checkpoints.wait()
        return state

    def _call(self, state: TrainState, inputs: Any) -> Callable[..., Any]:
        """The compiled call of up to `max_steps_per_call` steps."""
        if self._compiled is None:
            with self.clock.paused() as pause:
                steps = jit_steps(self.task, self.feed, self.max_steps_per_call)
                self._compiled = steps.lower(state, inputs, jnp.asarray(1, jnp.int32)).compile()
            self.compile_seconds += pause.seconds
            self.reporter.say(f"compiled in {duration(pause.seconds)}")
        assert self._compiled is not None
        return self._compiled

    def _is_below(self, losses: dict[str, Any], length: int) -> bool:
        """Whether the last step of a call reached the loss at which the recipe stops."""
        bound = self.task.recipe.stop_below
        return bound is not None and float(np.reshape(losses["loss"], -1)[length - 1]) < bound

    def _has_stopped(self) -> bool:
        """Whether an earlier invocation reached the loss at which the recipe stops."""
        return bool(self.log.records) and bool(self.log.records[-1].get("stopped"))

    def _log(self, pending: list[Any], state: TrainState, evaluation_due: bool) -> None:
        """Writes the mean losses of the pending calls and, if an evaluation is due, the metrics of the test
        split.

        Errors: DivergedError if a loss is not finite.
        """
        losses: dict[str, list[float]] = {name: [] for name in pending[0][2]}
        for first, length, values in jax.device_get(pending):
            for name, value in values.items():
                value = np.reshape(value, -1)[:length]
                bad = np.flatnonzero(~np.isfinite(value))
                if bad.size:
                    raise DivergedError(
                        f"{name} is {value[bad[0]]} at step {first + 1 + bad[0]}; the last checkpoint is kept"
                    )
                losses[name].extend(value.tolist())
        start_of_last_call, length, _ = pending[-1]
        step = start_of_last_call + length
        seconds = self.clock.lap()
        rate = (step - pending[0][0]) / seconds
        record: dict[str, Any] = {"step": step, "epoch": round(step / self.cadence.epoch, 3)}
        record |= {name: float(np.mean(values)) for name, values in losses.items()}
        record |= {"steps_per_second": rate, "examples_per_second": rate * self.feed.batch_size}
        before = self.log.records[-1]["seconds"] if self.log.records else 0.0
        record["seconds"] = round(before + seconds, 3)  # seconds of training, without compilation
        if evaluation_due and self._evaluation is not None:
            with self.clock.paused():
                record |= self._evaluation(state)
                for evaluation in self._reported if self.finished else ():
                    record |= evaluation(state)
        record |= self.task.derived(record)
        if self.finished and step < self.cadence.total:
            record["stopped"] = True
        self.log.write(record)
        self.reporter.metrics(record)

    def _path_at(self, step: int) -> Callable[[str], Path]:
        return lambda name: self.workdir / "samples" / f"{name}_{step:06d}.png"

    def summarise(self, title: str) -> None:
        """Writes curves.png and the animations, and prints the card of results."""
        records = self.log.records
        if not records:  # the metrics.jsonl of a finished run was deleted
            return
        save_curves(records, metric_names(records), self.workdir / "curves.png", title)
        save_animations(self.workdir / "samples")
        last = records[-1]
        rows = {name.replace("_", " "): f"{last[name]:.4g}" for name in last if is_metric(name)}
        rows |= {
            "steps": f"{last['step']} of {self.feed.batch_size} examples",
            "time": f"{duration(last['seconds'])} training, {duration(self.compile_seconds)} compiling",
            "speed": f"{last['steps_per_second']:.1f} steps/s, {last['examples_per_second']:.0f} examples/s",
            "results": f"{self.workdir}/: samples/, curves.png, metrics.jsonl, checkpoints/",
        }
        if self.task.recipe.model in RECIPES:  # a user's model has no twin in the catalogue
            rows["next"] = f"python -m convert to-torch {self.workdir}"
        print_card(self.reporter.console, title, rows)
