"""Samples from a trained generative model: `python -m train.generate runs/dcgan --count 64 --seed 1`.

Images are written into the run folder's generated/, as one grid or, with --files, each as a file. Curves are
written there as a plot and a CSV table. The latents follow from --seed alone; --latents decodes given latents
instead. --class chooses the class for a model that takes a class. A model that translates shows test images,
their translations, and the translations back.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from train.command_line import parse_flags, run_command
from train.engine.run_folders import read_recipe
from train.recipes import Capability

PROG = "python -m train.generate"


@dataclass(frozen=True)
class Flags:
    """Sample from a trained generator or decoder, or translate test images."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of train.run."""
    count: int = 64
    """How many samples to make, or images to translate."""
    seed: int = 0
    """Seed of the latents."""
    label: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """The name of the class to sample; if it is not given, the classes are sampled in turn."""
    latents: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--codes"])] = ()
    """Latents to decode, each as numbers with commas between them: 0.5,-1,2 1,0,0"""
    data_dir: Path = Path("data")
    """Folder of the data sets; for a model that translates."""
    files: bool = False
    """Write a file for every image instead of one grid."""


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    recipe = read_recipe(flags.run)
    translates = Capability.TRANSLATE in recipe.capabilities
    if translates and (flags.latents or flags.label is not None):
        raise ValueError(f"{recipe.model} translates images: do not give --latents or --class")
    if not translates:
        recipe.require_capability(Capability.SAMPLE, flags.run)

    from train.backend import use_compilation_cache
    from train.engine.runs import load_run
    from train.engine.sampling import parse_latents, save_translations

    latents = parse_latents(flags.latents)
    use_compilation_cache()
    run, folder = load_run(flags.run, data_dir=flags.data_dir), flags.run / "generated"
    if translates:
        paths = save_translations(run.translate(flags.count), folder, files=flags.files)
    else:
        samples = run.sample(flags.count, seed=flags.seed, label=flags.label, latents=latents)
        paths = samples.save(folder, run.meta, files=flags.files)
    print(f"wrote {paths[0]}" + (f" to {paths[-1].name}" if len(paths) > 1 else ""))


if __name__ == "__main__":
    run_command(PROG, main)
