"""Draws with a trained generator or decoder: `python -m train.generate runs/dcgan --count 64 --seed 1`.

Pictures go into the run folder's generated/, as one grid or, with --files, a file each; curves as a plot
and a table. The noise follows from --seed alone; --codes decodes given ones in its place, and --class chooses
what a model that knows classes draws. A model that translates shows test pictures, what it makes of each, and
what comes back.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from train.commands import parse_flags, run_command, use_compilation_cache
from train.config import AutoencodeRecipe, CycleGANRecipe, GANRecipe, read_meta, read_recipe
from train.lookup import look_up

PROG = "python -m train.generate"
AT_ONCE = 256  # pictures in one call of the model


@dataclass(frozen=True)
class Flags:
    """Draw with a trained generator or decoder."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of train.run."""
    count: int = 64
    """How many to draw."""
    seed: int = 0
    """Seed of the noise."""
    label: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """The class to draw, by name; all of them in turn where not given."""
    codes: tuple[str, ...] = ()
    """Codes to decode, each as numbers with commas between them: 0.5,-1,2 1,0,0"""
    data_dir: Path = Path("data")
    """Where data sets are kept; of a model that translates."""
    files: bool = False
    """A file for every picture rather than one grid."""


def generate(
    workdir: Path, *, count: int = 64, seed: int = 0, label: str | None = None,
    codes: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """What a run draws: pictures (N, H, W, C) in [-1, 1] or curves (N, P); and their classes (N,) if any.

    codes: (N, ...) noise or codes to decode; without them `count` are drawn from the seed. label: the
    name of the class to draw; without it all classes take turns.
    Errors: ValueError for a folder without a trained generator, codes of another size than the model's,
    an unknown class, and for codes of a model that has no distribution to draw them from.
    """
    if not isinstance(read_recipe(workdir), GANRecipe | AutoencodeRecipe):
        raise ValueError(f"{workdir} holds {read_recipe(workdir).model}, which draws nothing from codes")
    if count < 1:
        raise ValueError(f"--count must be at least 1, got {count}")
    import jax

    from train.runs import load_run
    from train.tasks import build_task

    run = load_run(workdir)
    task = build_task(run.recipe, run.model)
    if codes is None:
        codes = np.asarray(task.draw_codes(jax.random.key(seed), count))
    elif codes[0].size != math.prod(task.code_shape):
        needed = math.prod(task.code_shape)
        raise ValueError(f"a code of {run.recipe.model} has {needed} numbers, got {codes[0].size}")
    codes = codes.reshape(-1, *task.code_shape)
    labels = None
    if task.labelled:
        classes = read_meta(workdir)["classes"]
        labels = np.arange(len(codes)) % len(classes)
        if label is not None:
            labels[:] = look_up({name: n for n, name in enumerate(classes)}, label, "class")
    elif label is not None:
        raise ValueError(f"{run.recipe.model} is not told a class: leave --class out")
    call = jax.jit(task.generate)
    parts = range(0, len(codes), AT_ONCE)
    drawn = [
        call(run.state, codes[n : n + AT_ONCE], *(() if labels is None else (labels[n : n + AT_ONCE],)))
        for n in parts
    ]
    return np.concatenate([np.asarray(part) for part in drawn]), labels


def translate(workdir: Path, data_dir: Path, count: int) -> dict[str, np.ndarray]:
    """{direction: so many test pictures, their translations, and what comes back, (3 N, H, W, 3) in [-1, 1]}.

    Errors: ValueError for a folder without a trained model.
    """
    import jax
    import jax.numpy as jnp

    from train.runs import load_recipe_data, load_run
    from train.tasks import build_task
    from train.tasks.cyclegan import DIRECTIONS

    run = load_run(workdir)
    data = load_recipe_data(run.recipe, data_dir)
    task = build_task(run.recipe, run.model)
    split = data.train if data.test is None else data.test
    batch = task.prepare_test({name: jnp.asarray(split[name][:count]) for name in ("a", "b")})
    call = jax.jit(task.translated_rows, static_argnums=2)

    def rows(way: str) -> np.ndarray:
        images = batch[way[0]]
        parts = [call(run.state, images[n : n + AT_ONCE], way) for n in range(0, len(images), AT_ONCE)]
        split_parts = zip(*(np.split(np.asarray(part), 3) for part in parts), strict=True)
        return np.concatenate([row for kind in split_parts for row in kind])

    return {way: rows(way) for way in DIRECTIONS}


def save(drawn: np.ndarray, labels: np.ndarray | None, workdir: Path, files: bool) -> list[Path]:
    """Writes what was drawn into the run folder's generated/; returns the files."""
    from train.pictures import as_bytes, save_grid
    from train.plots import save_curve_bundle

    folder = workdir / "generated"
    if drawn.ndim == 2:
        meta = read_meta(workdir)
        save_curve_bundle(np.asarray(meta["places"]), drawn, meta["bounds"], folder / "curves.png")
        np.savetxt(folder / "curves.csv", drawn, delimiter=",", fmt="%.6g")
        return [folder / "curves.png", folder / "curves.csv"]
    if not files:
        order = np.arange(len(drawn)) if labels is None else np.argsort(labels, kind="stable")
        rows = 1 if labels is None else len(np.unique(labels))
        even = rows > 1 and len(drawn) % rows == 0
        save_grid(
            as_bytes(drawn[order]), folder / "samples.png", columns=len(drawn) // rows if even else None
        )
        return [folder / "samples.png"]
    width = len(str(len(drawn) - 1))
    paths = [folder / f"sample_{number:0{width}d}.png" for number in range(len(drawn))]
    for path, image in zip(paths, as_bytes(drawn), strict=True):
        save_grid(image[None], path, scale=1, gap=0)
    return paths


def parse_codes(texts: tuple[str, ...]) -> np.ndarray | None:
    """("0.5,-1", "1,0") -> (2, 2) float32; None where there are none. ValueError for what is no table."""
    if not texts:
        return None
    try:
        rows = [[float(number) for number in text.split(",")] for text in texts]
    except ValueError:
        raise ValueError(f"--codes takes numbers with commas between them, got {' '.join(texts)!r}") from None
    if len({len(row) for row in rows}) > 1:
        raise ValueError(
            f"--codes have {', '.join(str(len(row)) for row in rows)} numbers: they must be alike"
        )
    return np.array(rows, np.float32)


def save_translations(rows: dict[str, np.ndarray], workdir: Path, files: bool) -> list[Path]:
    """Writes them into the run folder's generated/: a grid for each direction, or the translations alone."""
    from train.pictures import as_bytes, save_grid

    folder, paths = workdir / "generated", []
    for way, images in rows.items():
        count = len(images) // 3
        singles = [images[n : n + 1] for n in range(count, 2 * count)] if files else [images]
        for number, single in enumerate(singles):
            paths.append(folder / (f"{way}_{number:0{len(str(count))}d}.png" if files else f"{way}.png"))
            save_grid(as_bytes(single), paths[-1], columns=len(single) // (1 if files else 3))
    return paths


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    codes = parse_codes(flags.codes)
    recipe = read_recipe(flags.run)
    use_compilation_cache()
    if isinstance(recipe, CycleGANRecipe):
        if codes is not None or flags.label is not None:
            raise ValueError(f"{recipe.model} translates pictures: leave --codes and --class out")
        if flags.count < 1:
            raise ValueError(f"--count must be at least 1, got {flags.count}")
        paths = save_translations(translate(flags.run, flags.data_dir, flags.count), flags.run, flags.files)
        print(f"translated: {paths[0]} to {paths[-1].name}")
        return
    drawn, labels = generate(flags.run, count=flags.count, seed=flags.seed, label=flags.label, codes=codes)
    paths = save(drawn, labels, flags.run, flags.files)
    print(f"drew {len(drawn)}: {paths[0]}" + (f" to {paths[-1].name}" if len(paths) > 1 else ""))


if __name__ == "__main__":
    run_command(PROG, main)
