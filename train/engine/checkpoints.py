"""Checkpoints of a TrainState in a run folder.

Orbax writes them atomically and in the background, and keeps the last few. A checkpoint contains arrays by
path, never a pickle. A damaged checkpoint is reported, and the previous one is used instead.
"""

import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from train.tasks.state import TrainState

MAX_TO_KEEP = 3


class Checkpoints:
    """The checkpoints of one run folder; a context manager that waits for unfinished writes on exit."""

    def __init__(self, workdir: Path):
        logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax logs every phase of a save
        self.directory = Path(workdir).resolve() / "checkpoints"
        self._manager = ocp.CheckpointManager(
            self.directory,
            item_handlers=ocp.StandardCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(max_to_keep=MAX_TO_KEEP, cleanup_tmp_directories=True),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: Any) -> None:
        self._manager.close()

    def save(self, state: TrainState) -> None:
        """Starts to write the state in the background. Training may continue when this returns."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        # The training step donates the state's buffers, so the background thread writes a copy.
        self._manager.save(step, args=ocp.args.StandardSave(jax.tree.map(jnp.copy, state)))

    def wait(self) -> None:
        """Returns when everything is on disk."""
        self._manager.wait_until_finished()

    def restore(
        self, shapes: TrainState, *, delete_damaged: bool = False
    ) -> tuple[TrainState | None, list[str]]:
        """(the last intact state or None, a line for each damaged checkpoint).

        shapes: of a state of the same model, as jax.eval_shape(task.initial_state) gives them; the state
        itself serves too. delete_damaged: delete the damaged checkpoints if an intact one is found, so that
        training can write those steps again.
        """
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, shapes)
        faults: list[str] = []
        damaged: list[int] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state: Any = self._manager.restore(step, args=ocp.args.StandardRestore(shapes))
            except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files
                faults.append(f"checkpoint {step} is damaged ({type(error).__name__}) and skipped")
                damaged.append(step)
                continue
            for number in damaged if delete_damaged else ():
                self._manager.delete(number)
            return state, faults
        return None, faults
