"""Animations, as GIF."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from train.plotting.pictures import save_picture


def save_animations(folder: Path, seconds: float = 0.4) -> None:
    """Writes NAME.gif for every series of images NAME_000100.png, NAME_000200.png ... in a folder.

    seconds: as in `save_animation`.
    """
    series: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*_*.png")):
        series.setdefault(path.stem.rpartition("_")[0], []).append(path)
    for name, paths in series.items():
        if len(paths) > 1:
            save_animation([Image.open(path) for path in paths], folder / f"{name}.gif", seconds)


def save_animation(frames: Sequence[Image.Image], path: Path, seconds: float = 0.4) -> None:
    """Writes images of one size as a GIF.

    seconds: how long each image is shown; the last one is shown four times as long.
    """
    first, *others = [frame.convert("RGB").quantize() for frame in frames]
    times = [int(1000 * seconds)] * len(others) + [int(4000 * seconds)]
    save_picture(first, path, save_all=True, append_images=others, duration=times, loop=0)
