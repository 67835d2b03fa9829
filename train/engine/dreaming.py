"""Deep dream with a trained network, in JAX: `dream(load_run("runs/vgg16"), image)`."""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

from flax_models import layers as nn
from flax_models.dream import DeepDream
from train.backend import Options, compiler_options
from train.data.images import read_image, to_pil_image
from train.engine.octaves import DreamSettings, dream_octaves, halve
from train.engine.progress import Reporter
from train.engine.trained import TrainedRun
from train.plotting.animations import save_animation
from train.plotting.pictures import save_picture

PHOTOGRAPH = "china.jpg"  # a temple, 427x640, of scikit-learn
MOST_PIXELS = 1024  # per side, up to which the least size that a network takes is looked for


@dataclass(frozen=True)
class Dream:
    """A dream.

    image: (H, W, 3) uint8, of the size of the picture. octaves: the dreams of all octaves, the smallest
    first; the last one is `image`.
    """

    image: np.ndarray
    octaves: Sequence[np.ndarray]

    def save(self, path: Path) -> None:
        """Writes the image. The suffix of the path gives the format."""
        save_picture(Image.fromarray(self.image), path)

    def save_animation(self, path: Path) -> None:
        """Writes a GIF of the octaves, each enlarged to the size of the image."""
        height, width = self.image.shape[:2]
        frames = [Image.fromarray(octave).resize((width, height)) for octave in self.octaves]
        save_animation(frames, path)


def dream(
    run: TrainedRun, image: np.ndarray, settings: DreamSettings | None = None, *, quiet: bool = True
) -> Dream:
    """The dream of a trained network about an image.

    run: a run of a model with `features`, such as a VGG. image: (H, W, 3) or (H, W, 1), uint8 or floats in
    [0, 1]. settings: by default `DreamSettings()`. quiet: show no progress.
    Errors: ValueError for an image of another shape, a model without `features`, a layer that it does not
    have, and a picture that is too small for the layer.
    """
    settings = settings or DreamSettings()
    name = run.recipe.model
    dreamer = build_dreamer(run.model, name, settings)
    pictures = halve(_as_picture(image), settings, smallest_side(dreamer, name))
    found: list[np.ndarray] = []
    with Reporter("dream", len(pictures) * settings.iterations, 0, quiet=quiet) as reporter:
        norms: list[float] = []

        def watch(norm: float) -> None:
            norms.append(norm)
            reporter.step(len(norms))

        draw = Drawing(dreamer, compiler_options(), watch)
        for octave in dream_octaves(pictures, draw, settings):
            found.append(np.round(255 * octave.image).astype(np.uint8))
            height, width = octave.image.shape[:2]
            grown = f"{norms[-settings.iterations]:.4g} to {norms[-1]:.4g}"
            reporter.say(f"octave {len(found)}/{len(pictures)}  {width}x{height} pixels  norm {grown}")
    return Dream(found[-1], found)


def build_dreamer(model: Any, name: str, settings: DreamSettings) -> DeepDream:
    """The DeepDream of a copy of a model, in evaluation mode. name: what an error calls the model.

    Errors: ValueError for a model without `features` that take colour images, and for a layer that it does
    not have.
    """
    features = getattr(model, "features", None)
    if not isinstance(features, nn.Sequential):
        raise ValueError(f"{name} has no Sequential `features` to dream with, as a VGG and alexnet have")
    layer = settings.layer
    if layer is None:
        layer = max((n for n, module in enumerate(features) if isinstance(module, nn.Conv2d)), default=0)
        layer = layer or len(features)
    if layer > len(features):
        raise ValueError(f"{name} has {len(features)} modules in its features, got layer {layer}")
    dreamer = DeepDream(nnx.clone(features), layer, settings.iterations, settings.rate, settings.accumulate)
    dreamer.eval()
    return dreamer


def smallest_side(dreamer: DeepDream, name: str) -> int:
    """The least number of pixels per side of the images that the layer takes.

    Errors: ValueError for a network that does not take colour images. name: what the error calls it.
    """

    def takes(side: int) -> bool:
        images = jax.ShapeDtypeStruct((1, side, side, 3), _dtype_of(dreamer))
        try:
            output = jax.eval_shape(dreamer.features, images)
        except (TypeError, ValueError):
            return False
        return output.ndim == 4 and output.size > 0

    side = 1 + bisect.bisect_left(range(1, MOST_PIXELS + 1), True, key=takes)
    if side > MOST_PIXELS:
        raise ValueError(f"{name} cannot dream: its features take no colour images")
    return side


class Drawing:
    """Draws dreams into images. It compiles once for every size of an image.

    options: XLA's compile options. watch: is called with the norm of every iteration.
    """

    def __init__(
        self, dreamer: DeepDream, options: Options, watch: Callable[[float], None] = lambda norm: None
    ):
        self.dreamer, self.watch = dreamer, watch
        self.dtype = _dtype_of(dreamer)
        graph, self._state = nnx.split(dreamer)

        def iterate(state: Any, x: jax.Array, gradient: jax.Array) -> tuple[jax.Array, ...]:
            return nnx.merge(graph, state).iterate(x, gradient)

        self._iterate = jax.jit(iterate, compiler_options=options)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, 3) in [0, 1] after all iterations, in the dtype of the network."""
        x = self.dreamer.normalize(jnp.asarray(image[None], self.dtype))
        gradient = jnp.zeros_like(x)
        for _ in range(self.dreamer.iterations):
            x, gradient, norms = self.iterate(x, gradient)
            self.watch(float(norms[0]))
        return np.asarray(self.dreamer.denormalize(x)[0])

    def iterate(self, x: jax.Array, gradient: jax.Array) -> tuple[jax.Array, ...]:
        """`DeepDream.iterate`, compiled."""
        return self._iterate(self._state, x, gradient)


def read_picture(file: Path | None) -> np.ndarray:
    """An image file as an array (H, W, 3) uint8; without a file, a photograph that comes with scikit-learn.

    Errors: ValueError for a file that is not there or that is no image.
    """
    if file is None:
        from sklearn.datasets import load_sample_image

        return load_sample_image(PHOTOGRAPH)
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    return np.asarray(read_image(file).convert("RGB"))


def _as_picture(image: np.ndarray) -> Image.Image:
    """An image as a picture of mode RGB. ValueError for another shape, and for values out of range."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise ValueError(f"an image is an array (H, W, 3) or (H, W, 1), got {image.shape}")
    if image.dtype != np.uint8:
        if not (np.issubdtype(image.dtype, np.floating) and image.min() >= 0 and image.max() <= 1):
            raise ValueError(f"an image has values of uint8, or floats in [0, 1], got {image.dtype}")
        image = np.round(255 * image).astype(np.uint8)
    return to_pil_image(image).convert("RGB")


def _dtype_of(dreamer: DeepDream) -> Any:
    return jax.tree.leaves(nnx.state(dreamer, nnx.Param))[0].dtype
