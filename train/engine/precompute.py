"""Computes once what every training step would compute anew, such as the features of frozen trunks.

The results are kept in the run folder, in precomputed.npz, for an invocation that resumes the run. They are
used again only if their digest is that of the weights, the transforms and the data.
"""

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from train.backend import compiler_options
from train.data.sources import Arrays, Data, Generated, Source, split_size, take_rows
from train.engine.progress import duration
from train.tasks.contract import Batch, Precomputation, Task
from train.tasks.state import TrainState

FILE = "precomputed.npz"
BATCH_SIZE = 64
NUM_READ = 16  # examples of a split that is not in memory, by which the digest recognises it


class Precomputed(NamedTuple):
    """The data of the steps. child: the child of the model whose results the data has in place of images."""

    data: Data
    child: str | None = None


def precompute(
    task: Task, state: TrainState, data: Data, workdir: Path,
    say: Callable[[str], None], stopped: Callable[[], bool],
) -> Precomputed | None:  # fmt: skip
    """The data with the results of the task's precomputation in place of the images.

    The data is unchanged if the task has no precomputation, or if an obstacle makes it impossible. say: is
    called with each line of the report. stopped: whether to stop early; then the result is None.
    """
    part = task.precomputation()
    if part is None:
        return Precomputed(data)
    if isinstance(data.train, Generated) or part.obstacle:
        reason = part.obstacle or "the data is generated in every step"
        say(f"{reason}, so every step computes the {part.child} anew")
        return Precomputed(data)
    splits = {"train": _Split(data.train, _size_of(data.train, task.recipe.take))}
    if data.test is not None:
        splits["test"] = _Split(data.test, split_size(data.test))
    digest = _digest(task, state, part, splits)
    path = workdir / FILE
    arrays = _read(path, digest, say)
    if arrays is None:
        arrays, start = {}, time.perf_counter()
        for name, split in splits.items():
            for key, array in _computed(task, state, part, name, split, stopped).items():
                arrays[f"{name}/{key}"] = array
            if stopped():
                return None
        _write(path, {**arrays, "digest": np.array(digest)})
        count, seconds = sum(split.size for split in splits.values()), time.perf_counter() - start
        say(f"computed the {part.child} once for {count} examples, in {duration(seconds)}; kept in {path}")
    else:
        say(f"the computed {part.child} are read from {path}")
    found = {
        name: {key.removeprefix(f"{name}/"): a for key, a in arrays.items() if key.startswith(f"{name}/")}
        for name in splits
    }
    return Precomputed(data._replace(train=found["train"], test=found.get("test")), part.child)


class _Split(NamedTuple):
    """The first `size` examples of a split."""

    examples: Arrays | Source
    size: int


def _size_of(examples: Arrays | Source, take: int | None) -> int:
    size = split_size(examples)
    return size if take is None else min(take, size)


def _computed(
    task: Task, state: TrainState, part: Precomputation, name: str, split: _Split,
    stopped: Callable[[], bool],
) -> Arrays:  # fmt: skip
    """The results for the examples of a split, in their order; incomplete if `stopped`."""

    def compute(state: TrainState, batch: Batch) -> Batch:
        prepared = task.prepare(batch, jax.random.key(0)) if name == "train" else task.prepare_test(batch)
        return part.compute(state, prepared)

    call = jax.jit(compute, compiler_options=compiler_options())
    results: list[Batch] = []
    for start in range(0, split.size, BATCH_SIZE):
        if stopped():
            break
        batch = take_rows(split.examples, range(start, min(start + BATCH_SIZE, split.size)))
        results.append(jax.device_get(call(state, jax.tree.map(jnp.asarray, batch))))
    return {key: np.concatenate([result[key] for result in results]) for key in results[0]} if results else {}


def _digest(task: Task, state: TrainState, part: Precomputation, splits: Mapping[str, _Split]) -> str:
    """The SHA-256 digest of everything on which the results depend.

    Of a split that is not in memory it contains the number of examples, and NUM_READ examples.
    """
    recipe = task.recipe
    digest = hashlib.sha256(
        json.dumps([recipe.dataset, recipe.options, recipe.image_settings, recipe.preprocess]).encode()
    )
    for tree in (state.params, state.buffers):
        flat = traverse_util.flatten_dict(tree.get(part.child, {}))
        _update(digest, sorted((str(path), array) for path, array in flat.items()))
    for name, (examples, size) in splits.items():
        digest.update(f"{name} {size}".encode())
        if isinstance(examples, Source):
            rows = take_rows(examples, np.linspace(0, size - 1, min(size, NUM_READ)).astype(int))
        else:
            rows = {key: array[:size] for key, array in examples.items()}
        _update(digest, sorted(rows.items()))
    return digest.hexdigest()


def _update(digest: Any, arrays: Iterable[tuple[str, Any]]) -> None:
    """Adds named arrays to a digest."""
    for name, value in arrays:
        array = np.ascontiguousarray(value)
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)


def _read(path: Path, digest: str, say: Callable[[str], None]) -> Arrays | None:
    """The arrays of a file with this digest; None if there is no such file."""
    if not path.is_file():
        return None
    try:
        # numpy does not close the file of a path that it cannot read.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        say(f"{path} is damaged ({type(error).__name__}) and is computed again")
        return None
    return arrays if str(arrays.pop("digest", "")) == digest else None


def _write(path: Path, arrays: Arrays) -> None:
    """Writes the file atomically."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    part.replace(path)
