"""The only training loop. What a step does is the task's; when things happen is decided here.

The loop knows one number, the step. From (seed, step) follow the order of the data and all noise,
so that a run which is stopped anywhere and goes on from its last checkpoint ends bit for bit where
an undisturbed one does.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flax_models import layers
from train.backend import compiler_options
from train.checkpoint import Checkpoints
from train.config import Recipe
from train.data.feeds import make_feed
from train.data.load import Data
from train.data.streams import AUGMENT, NOISE, stream
from train.evaluation import Evaluation
from train.interrupt import Interrupt
from train.pictures import save_animations
from train.plots import is_metric, save_curves
from train.report import Metrics, Reporter, Stopwatch, duration, print_card
from train.runs import load_recipe_data
from train.state import TrainState, build_model, fit_options
from train.tasks import build_task

STEPS_PER_CALL = 1000


class Diverged(ValueError):
    """A loss is no longer a finite number; names the step."""


@dataclass(frozen=True)
class Cadence:
    """The steps at which things happen. A call of several steps never runs past one of them."""

    total: int
    log: int
    checkpoint: int
    pictures: int
    evaluate: int
    renewal: int
    epoch: int

    @classmethod
    def of(cls, recipe: Recipe, feed: Any) -> "Cadence":
        epoch = feed.steps_per_epoch
        total = recipe.steps if recipe.steps is not None else (recipe.epochs or 0) * epoch
        if total < 1:
            raise ValueError(f"a run needs at least one step, got {total}")
        twentieth = max(1, total // 20)
        return cls(
            total=total,
            log=min(recipe.log_every, total),
            checkpoint=recipe.checkpoint_every or max(epoch, twentieth),
            pictures=recipe.sample_every or max(1, math.ceil(total / 10)),
            evaluate=recipe.evaluate_every or (epoch if epoch > 1 else twentieth),
            renewal=feed.renewal or total,
            epoch=epoch,
        )

    def until_next(self, step: int) -> int:
        """Steps that can be run before something has to happen."""
        every = (self.log, self.checkpoint, self.pictures, self.evaluate, self.renewal)
        return min(self.total - step, *(n - step % n for n in every))


def advance(task: Any, feed: Any, longest: int) -> Callable:
    """(state, inputs, length) -> (state, losses of each step (longest,)): up to `longest` steps in a call.

    Where the recipe stops below a loss, the call ends with the step that reaches it.
    """
    recipe = task.recipe

    def one(state: TrainState, inputs) -> tuple[TrainState, dict[str, jax.Array]]:
        noise, augment = (
            jax.random.fold_in(stream(recipe.seed, which), state.step) for which in (NOISE, AUGMENT)
        )
        batch = task.prepare(feed.batch(inputs, state.step), augment)
        return task.step(state, batch, task.draw(noise, feed.batch_size))

    def many(state: TrainState, inputs, length) -> tuple[TrainState, dict[str, jax.Array]]:
        _, shapes = jax.eval_shape(one, state, inputs)
        first = state.step
        losses = {name: jnp.zeros(longest, leaf.dtype) for name, leaf in shapes.items()}

        def goes_on(carry):
            state, losses = carry
            done = state.step - first
            if recipe.stop_below is None:
                return done < length
            return (done < length) & ((done == 0) | ~(losses["loss"][done - 1] < recipe.stop_below))

        def step(carry):
            state, losses = carry
            place = state.step - first
            state, values = one(state, inputs)
            return state, {name: losses[name].at[place].set(value) for name, value in values.items()}

        return jax.lax.while_loop(goes_on, step, (state, losses))

    # A loop of one step would cost convolutions on the CPU their fast form.
    call = many if longest > 1 else lambda state, inputs, length: one(state, inputs)
    return jax.jit(call, donate_argnums=0, compiler_options=compiler_options())


def fast_steps_per_call(model: nnx.Module) -> int:
    """Steps in one dispatch: many, but for convolutions on a CPU, which a loop around them makes slow."""
    convolves = any(
        isinstance(module, layers.Conv2d | layers.ConvTranspose2d) for _, module in nnx.iter_modules(model)
    )
    return 1 if convolves and jax.default_backend() == "cpu" else STEPS_PER_CALL


def train(recipe: Recipe, workdir: Path, data_dir: Path) -> None:
    """Runs a recipe in a run folder, from the folder's last checkpoint or from the beginning."""
    data = load_recipe_data(recipe, data_dir)
    recipe = fit_options(recipe, data.meta)
    feed = make_feed(
        data.train, batch_size=recipe.batch_size, shuffle=recipe.shuffle, seed=recipe.seed,
        take=recipe.take, stream=recipe.stream, workers=recipe.workers,
    )  # fmt: skip
    cadence = Cadence.of(recipe, feed)
    model = build_model(recipe)
    task = build_task(replace(recipe, steps=cadence.total), model)
    longest = recipe.steps_per_call or fast_steps_per_call(model)
    workdir.mkdir(parents=True, exist_ok=True)
    with Checkpoints(workdir) as checkpoints, Interrupt() as interrupt:
        state, faults = checkpoints.restore(task.state(), discard=True)
        if state is None and faults:
            raise ValueError(
                f"{'; '.join(faults)}: no checkpoint in {workdir} can be read, or another recipe wrote them; "
                "--no-resume starts anew and keeps them"
            )
        state = task.state() if state is None else state
        for name, value in (("recipe", recipe.to_json()), ("data", data.meta)):
            (workdir / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n")
        title = f"{recipe.model} on {recipe.dataset}"
        with Reporter(title, cadence.total, int(state.step)) as reporter:
            for fault in faults:
                reporter.say(fault)
            run = Run(task, data, feed, cadence, longest, workdir, checkpoints, reporter)
            try:
                state = run.until(interrupt, state)
            finally:
                feed.close()
        if not run.finished:
            print(f"{interrupt.received}: saved step {int(state.step)} of {cadence.total} in {workdir}; "
                  "run the same command again to go on")  # fmt: skip
            return
        run.summarise(title)


class Run:
    """One invocation of the loop: the task, the data, and where results go."""

    def __init__(
        self, task: Any, data: Data, feed: Any, cadence: Cadence, longest: int, workdir: Path,
        checkpoints: Checkpoints, reporter: Reporter,
    ):  # fmt: skip
        self.task, self.data, self.feed, self.cadence = task, data, feed, cadence
        self.longest = max(1, min(longest, cadence.total))
        self.workdir, self.checkpoints, self.reporter = workdir, checkpoints, reporter
        self.compile_seconds = 0.0
        self.clock = Stopwatch()
        self._call: Callable | None = None
        evaluated = task.evaluates and data.test is not None
        self._evaluation = Evaluation(task, data.test, feed.batch_size) if evaluated else None

    def until(self, interrupt: Interrupt, state: TrainState) -> TrainState:
        """Trains to the last step, or to where an interrupt came; either way the state is saved."""
        step, cadence = int(state.step), self.cadence
        self.metrics = Metrics(self.workdir, step)
        self.finished = step >= cadence.total or self._stopped()
        if step:
            self.reporter.say(f"going on from step {step} in {self.workdir}")
        pending = []  # calls whose losses are still on the device
        ends = self.finished
        while not ends:
            length = min(self.longest, cadence.until_next(step))
            inputs = self.feed.inputs(step, length)
            call = self._compiled(state, inputs)
            state, losses = call(state, inputs, length)
            reached = step + length if self.task.recipe.stop_below is None else int(state.step)
            pending.append((step, reached - step, losses))
            step = reached
            self.reporter.step(step)
            self.finished = step == cadence.total or self._is_low(losses, pending[-1][1])
            ends = self.finished or interrupt.received is not None
            judged = self.finished or step % cadence.evaluate == 0
            if judged or ends or step % cadence.log == 0 or step % cadence.checkpoint == 0:
                self._log(pending, state, judged)
                pending = []
            with self.clock.aside():
                if step % cadence.checkpoint == 0 or ends:
                    self.checkpoints.save(state)
                if step % cadence.pictures == 0 or self.finished:
                    self.task.save_pictures(state, self.data, self._path_at(step))
        self.checkpoints.wait()
        return state

    def _compiled(self, state: TrainState, inputs: Any) -> Callable:
        if self._call is None:
            with self.clock.aside() as aside:
                length = jnp.asarray(1, jnp.int32)
                self._call = (
                    advance(self.task, self.feed, self.longest).lower(state, inputs, length).compile()
                )
            self.compile_seconds += aside.seconds
            self.reporter.say(f"compiled in {duration(aside.seconds)}")
        return self._call

    def _is_low(self, losses: dict, length: int) -> bool:
        """Whether the last step of a call went below the loss at which the recipe stops."""
        below = self.task.recipe.stop_below
        return below is not None and float(np.reshape(losses["loss"], -1)[length - 1]) < below

    def _stopped(self) -> bool:
        return bool(self.metrics.records) and bool(self.metrics.records[-1].get("stopped"))

    def _log(self, pending: list, state: TrainState, judged: bool) -> None:
        """Writes the mean losses of the pending calls, and where it is time those of the test split.

        Errors: Diverged where a loss is not finite.
        """
        losses: dict[str, list[float]] = {name: [] for name in pending[0][2]}
        for first, length, values in jax.device_get(pending):
            for name, value in values.items():
                value = np.reshape(value, -1)[:length]
                bad = np.flatnonzero(~np.isfinite(value))
                if bad.size:
                    raise Diverged(
                        f"{name} is {value[bad[0]]} at step {first + 1 + bad[0]}; the last checkpoint is kept"
                    )
                losses[name].extend(value.tolist())
        last, length, _ = pending[-1]
        step = last + length
        seconds = self.clock.lap()
        rate = (step - pending[0][0]) / seconds
        record = {"step": step, "epoch": round(step / self.cadence.epoch, 3)}
        record |= {name: float(np.mean(values)) for name, values in losses.items()}
        record |= {"steps_per_second": rate, "examples_per_second": rate * self.feed.batch_size}
        before = self.metrics.records[-1]["seconds"] if self.metrics.records else 0.0
        record["seconds"] = round(before + seconds, 3)  # of training, compiling left out
        if judged and self._evaluation is not None:
            with self.clock.aside():
                record |= self._evaluation(state)
        record |= self.task.derived(record)
        if self.finished and step < self.cadence.total:
            record["stopped"] = True
        self.metrics.write(record)
        self.reporter.metrics(record)

    def _path_at(self, step: int) -> Callable[[str], Path]:
        return lambda name: self.workdir / "samples" / f"{name}_{step:06d}.png"

    def summarise(self, title: str) -> None:
        """curves.png, the pictures in motion, and the results card."""
        records = self.metrics.records
        if not records:  # a finished run whose metrics.jsonl was taken away
            return
        save_curves(records, self.workdir / "curves.png", title)
        save_animations(self.workdir / "samples")
        last = records[-1]
        rows = {name.replace("_", " "): f"{last[name]:.4g}" for name in last if is_metric(name)}
        rows |= {
            "steps": f"{last['step']} of {self.feed.batch_size} examples",
            "time": f"{duration(last['seconds'])} training, {duration(self.compile_seconds)} compiling",
            "speed": f"{last['steps_per_second']:.1f} steps/s, {last['examples_per_second']:.0f} examples/s",
            "results": f"{self.workdir}/: samples/, curves.png, metrics.jsonl, checkpoints/",
            "next": f"python -m convert to-torch {self.workdir}",
        }
        print_card(self.reporter.console, title, rows)
