"""Deep dream: `python -m train.dream photo.jpg --out dream.png --run runs/vgg16`.

A trained VGG (or any model with `features`) draws into a picture what one of its layers sees in it. The
dream has the size of the picture. Without a picture it is about a photograph that comes with scikit-learn.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from train.command_line import parse_flags, run_command
from train.engine.octaves import DreamSettings
from train.engine.run_folders import read_recipe
from train.plotting.pictures import check_picture_file

PROG = "python -m train.dream"
NO_RUN = (
    "--run is needed, the run folder of a VGG: make one from published weights, "
    "python -m convert to-flax vgg16.pth --model vgg16 --workdir RUN --options num_classes 1000, "
    "or by training, python -m train.run --model vgg11 --options width 32 hidden_features 256 --epochs 4"
)


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Let a trained network dream about a picture."""

    image: Annotated[Path | None, tyro.conf.Positional] = None
    """The picture; a photograph that comes with scikit-learn if not given."""
    out: Path
    """File of the dream; its suffix gives the format."""
    run: Path | None = None
    """Run folder of a VGG or an alexnet."""
    gif: Path | None = None
    """Also write a GIF of the octaves to this file."""
    settings: Annotated[DreamSettings, tyro.conf.arg(name="")] = field(default_factory=DreamSettings)


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    if flags.run is None:
        raise ValueError(NO_RUN)
    read_recipe(flags.run)
    check_picture_file(flags.out)
    if flags.gif is not None:
        check_picture_file(flags.gif, ".gif")

    from train.backend import use_compilation_cache
    from train.engine.dreaming import dream, read_picture
    from train.engine.trained import load_trained

    image = read_picture(flags.image)
    use_compilation_cache()
    found = dream(load_trained(flags.run), image, flags.settings, quiet=False)
    found.save(flags.out)
    print(f"wrote {flags.out}")
    if flags.gif is not None:
        found.save_animation(flags.gif)
        print(f"wrote {flags.gif}")


if __name__ == "__main__":
    run_command(PROG, main)
