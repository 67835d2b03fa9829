"""Pictures of a run: image grids as PNG, and the curves of its metrics."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def save_grid(images: np.ndarray, path: Path, *, scale: int = 2, gap: int = 2) -> None:
    """(N, H, W, 1 or 3) uint8 -> one PNG, row by row in a near-square grid, enlarged `scale` times."""
    from PIL import Image

    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 64, np.uint8)
    for index, image in enumerate(images):
        top, left = (
            gap + n * (size + gap) for n, size in zip(divmod(index, columns), (height, width), strict=True)
        )
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(path)


def save_curves(records: Sequence[Mapping[str, float]], path: Path, title: str) -> None:
    """Every loss of the metrics records over the steps, as one PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in records[-1] if name.endswith(("loss", "accuracy"))]
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    steps = [record["step"] for record in records]
    for name in names:
        axes.plot(
            steps, [record.get(name, math.nan) for record in records], label=name.replace("_", " "), lw=1.2
        )
    axes.set(xlabel="step", title=title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
