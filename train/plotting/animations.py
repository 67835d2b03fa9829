"""Animations of the images that a run saves."""

from pathlib import Path


def save_animations(folder: Path, seconds: float = 0.4) -> None:
    """Writes NAME.gif for every series of images NAME_000100.png, NAME_000200.png ... in a folder.

    seconds: how long each image is shown; the last one is shown four times as long.
    """
    from PIL import Image

    series: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*_*.png")):
        series.setdefault(path.stem.rpartition("_")[0], []).append(path)
    for name, paths in series.items():
        first, *others = [Image.open(path).convert("RGB").quantize() for path in paths]
        if others:
            times = [int(1000 * seconds)] * len(others) + [int(4000 * seconds)]
            first.save(folder / f"{name}.gif", save_all=True, append_images=others, duration=times, loop=0)
