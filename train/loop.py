"""The only training loop. What a step does is the task's; when things happen is decided here.

The loop knows one number, the step. From (seed, step) follow the order of the data and all noise,
so that a run which is stopped anywhere and goes on from its last checkpoint ends bit for bit where
an undisturbed one does.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from train.backend import compiler_options
from train.checkpoint import Checkpoints
from train.config import Recipe
from train.data.load import load_split
from train.data.resident import NOISE, Resident, gather, resident, stream
from train.interrupt import Interrupt
from train.pictures import save_curves, save_grid
from train.report import Metrics, Reporter, Stopwatch, duration, print_card
from train.state import TrainState, build_model
from train.tasks import build_task


class Diverged(ValueError):
    """A loss is no longer a finite number; names the step."""


@dataclass(frozen=True)
class Cadence:
    """The steps at which things happen. A call of several steps never runs past one of them."""

    total: int
    log: int
    checkpoint: int
    pictures: int
    epoch: int

    @classmethod
    def of(cls, recipe: Recipe, data: Resident) -> "Cadence":
        epoch = data.steps_per_epoch
        total = recipe.steps if recipe.steps is not None else recipe.epochs * epoch
        if total < 1:
            raise ValueError(f"a run needs at least one step, got {total}")
        return cls(
            total=total,
            log=min(recipe.log_every, total),
            checkpoint=recipe.checkpoint_every or max(epoch, total // 20),
            pictures=recipe.sample_every or max(1, math.ceil(total / 10)),
            epoch=epoch,
        )

    def until_next(self, step: int) -> int:
        """Steps that can be run before something has to happen."""
        every = (self.log, self.checkpoint, self.pictures, self.epoch)
        return min(self.total - step, *(n - step % n for n in every))


def advance(task: Any, data: Resident, length: int) -> Callable:
    """(state, arrays, order) -> (state, losses of each step (length,)): `length` steps of one epoch."""

    def one(state: TrainState, arrays, order):
        position = state.step % data.steps_per_epoch * data.batch_size
        batch = gather(arrays, order, position, data.batch_size)
        key = jax.random.fold_in(stream(data.seed, NOISE), state.step)
        return task.step(state, batch, task.draw(key, data.batch_size))

    def many(state: TrainState, arrays, order):
        return jax.lax.scan(lambda state, _: one(state, arrays, order), state, length=length)

    # A scan of one step would cost convolutions on the CPU their fast form.
    return jax.jit(one if length == 1 else many, donate_argnums=0, compiler_options=compiler_options())


def train(recipe: Recipe, workdir: Path, data_dir: Path) -> None:
    """Runs a recipe in a run folder, from the folder's last checkpoint or from the beginning."""
    arrays = load_split(recipe.dataset, "train", data_dir)
    arrays = {name: array[: recipe.take] for name, array in arrays.items()}
    data = resident(arrays, batch_size=recipe.batch_size, shuffle=recipe.shuffle, seed=recipe.seed)
    cadence = Cadence.of(recipe, data)
    task = build_task(recipe, build_model(recipe))
    workdir.mkdir(parents=True, exist_ok=True)
    with Checkpoints(workdir) as checkpoints, Interrupt() as interrupt:
        state, faults = checkpoints.restore(task.state(), discard=True)
        if state is None and faults:
            raise ValueError(
                f"{'; '.join(faults)}: no checkpoint in {workdir} can be read, or another recipe wrote them; "
                "--no-resume starts anew and keeps them"
            )
        state = task.state() if state is None else state
        (workdir / "recipe.json").write_text(json.dumps(recipe.to_json(), indent=2) + "\n")
        title = f"{recipe.model} on {recipe.dataset}"
        with Reporter(title, cadence.total, int(state.step)) as reporter:
            for fault in faults:
                reporter.say(fault)
            run = Run(task, data, cadence, workdir, checkpoints, reporter)
            state = run.until(interrupt, state)
        finished = int(state.step) >= cadence.total
        if not finished:
            print(f"{interrupt.received}: saved step {int(state.step)} of {cadence.total} in {workdir}; "
                  "run the same command again to go on")  # fmt: skip
            return
        run.summarise(title)


class Run:
    """One invocation of the loop: the task, the data, and where results go."""

    def __init__(
        self, task: Any, data: Resident, cadence: Cadence, workdir: Path,
        checkpoints: Checkpoints, reporter: Reporter,
    ):  # fmt: skip
        self.task, self.data, self.cadence = task, data, cadence
        self.workdir, self.checkpoints, self.reporter = workdir, checkpoints, reporter
        self.compile_seconds = 0.0
        self.clock = Stopwatch()
        self._compiled: dict[int, Callable] = {}
        self._pictures = jax.jit(task.pictures)

    def until(self, interrupt: Interrupt, state: TrainState) -> TrainState:
        """Trains to the last step, or to where an interrupt came; either way the state is saved."""
        step, cadence = int(state.step), self.cadence
        self.metrics = Metrics(self.workdir, step)
        if step:
            self.reporter.say(f"going on from step {step} in {self.workdir}")
        order = self.data.order_at(step)
        pending = []  # calls whose losses are still on the device
        ends = step >= cadence.total
        while not ends:
            if step % cadence.epoch == 0:
                order = self.data.order_at(step)
            length = min(self.task.recipe.steps_per_call, cadence.until_next(step))
            call = self._call(length, state, order)
            state, losses = call(state, self.data.arrays, order)
            pending.append((step, length, losses))
            step += length
            self.reporter.step(step)
            ends = step == cadence.total or interrupt.received is not None
            if step % cadence.log == 0 or step % cadence.checkpoint == 0 or ends:
                self._log(pending)
                pending = []
            with self.clock.aside():
                if step % cadence.checkpoint == 0 or ends:
                    self.checkpoints.save(state)
                if step % cadence.pictures == 0 or step == cadence.total:
                    self._save_pictures(state, step)
        self.checkpoints.wait()
        return state

    def _call(self, length: int, state: TrainState, order) -> Callable:
        if length not in self._compiled:
            with self.clock.aside() as aside:
                lowered = advance(self.task, self.data, length).lower(state, self.data.arrays, order)
                self._compiled[length] = lowered.compile()
            self.compile_seconds += aside.seconds
            self.reporter.say(f"compiled in {duration(aside.seconds)}")
        return self._compiled[length]

    def _log(self, pending: list) -> None:
        """Writes the mean losses of the pending calls; Diverged where one is not finite."""
        losses: dict[str, list[float]] = {name: [] for name in pending[0][2]}
        for first, length, values in jax.device_get(pending):
            for name, value in values.items():
                value = np.reshape(value, length)
                bad = np.flatnonzero(~np.isfinite(value))
                if bad.size:
                    raise Diverged(
                        f"{name} is {value[bad[0]]} at step {first + 1 + bad[0]}; the last checkpoint is kept"
                    )
                losses[name].extend(value.tolist())
        last, length, _ = pending[-1]
        step = last + length
        rate = (step - pending[0][0]) / self.clock.lap()
        record = {"step": step, "epoch": round(step / self.cadence.epoch, 3)}
        record |= {name: float(np.mean(values)) for name, values in losses.items()}
        record |= {"steps_per_second": rate, "images_per_second": rate * self.data.batch_size}
        self.metrics.write(record)
        self.reporter.metrics(record)

    def _save_pictures(self, state: TrainState, step: int) -> None:
        for name, images in self._pictures(state).items():
            save_grid(np.asarray(images), self.workdir / "samples" / f"{name}_{step:06d}.png")

    def summarise(self, title: str) -> None:
        """curves.png and the results card."""
        records = self.metrics.records
        if not records:  # a finished run whose metrics.jsonl was taken away
            return
        save_curves(records, self.workdir / "curves.png", title)
        last = records[-1]
        rows = {
            name.replace("_", " "): f"{last[name]:.4f}"
            for name in last
            if name.endswith(("loss", "accuracy"))
        }
        rows |= {
            "steps": f"{self.cadence.total} of {self.data.batch_size} images",
            "time": f"{duration(self.clock.total)} training, {duration(self.compile_seconds)} compiling",
            "speed": f"{last['steps_per_second']:.1f} steps/s, {last['images_per_second']:.0f} images/s",
            "results": f"{self.workdir}/: samples/, curves.png, metrics.jsonl, checkpoints/",
            "next": f"python -m convert to-torch {self.workdir}",
        }
        print_card(self.reporter.console, title, rows)
