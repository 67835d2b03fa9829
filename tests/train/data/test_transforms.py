"""Image transforms against torch and PIL, the statistics of their draws, and equal bits inside jit."""

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image

from train.data.transforms import TRANSFORMS, ops, parse_transforms

KEY = jax.random.key(0)
EXAMPLES = {
    "resize": ["resize:9", "resize:20:7"], "center_crop": ["center_crop:9", "center_crop:20"],
    "random_crop": ["random_crop:9:2"], "random_horizontal_flip": ["random_horizontal_flip"],
    "random_vertical_flip": ["random_vertical_flip:0.3"],
    "random_resized_crop": ["random_resized_crop:8:0.2"],
    "pad": ["pad:3"], "random_rotation": ["random_rotation:40"], "grayscale": ["grayscale", "grayscale:3"],
    "random_rotation_from": ["random_rotation_from:-30,0,90"],
    "normalize": ["normalize:0.1307:0.3081", "normalize:0.4914,0.4822,0.4465:0.247,0.2435,0.2616"],
}  # fmt: skip
EACH = [(name,) for names in EXAMPLES.values() for name in names]
CHAIN = ("resize:16", "random_horizontal_flip", "random_rotation:9", "random_crop:12:1", "grayscale:3",
         "normalize:0.4914,0.4822,0.4465:0.247,0.2435,0.2616")  # fmt: skip


def random_images(count=6, height=13, width=11, channels=3, dtype=np.float32):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels)).astype(dtype) / 255


def coordinate_images(count, height, width):
    """Images whose two channels are the row and the column of each pixel, from 1."""
    rows, columns = np.meshgrid(np.arange(1.0, height + 1), np.arange(1.0, width + 1), indexing="ij")
    return np.tile(np.stack([rows, columns], -1).astype(np.float32), (count, 1, 1, 1))


def transform(images, *names, key=KEY):
    return np.asarray(ops.apply_transforms(parse_transforms(names), jnp.asarray(images), key))


def draw_boxes(*arguments) -> Any:
    """(4, count): top, left, height and width."""
    return np.stack(jax.jit(ops._draw_boxes, static_argnums=(1, 2, 3, 4))(KEY, *arguments))


def in_torch(images):
    return torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2)


def from_torch(images):
    return images.permute(0, 2, 3, 1).numpy()


def test_every_transform_has_an_example():
    assert EXAMPLES.keys() == TRANSFORMS.keys() == ops.OPS.keys()
    assert all(kind.syntax.startswith(name) and kind.about for name, kind in TRANSFORMS.items())


@pytest.mark.standard_promotion("boxes are drawn in float32, for images in float64 too")
@pytest.mark.parametrize("names", [*EACH, CHAIN], ids=lambda names: names[0])
def test_bits_shapes_and_dtypes(names):
    transforms = parse_transforms(names)
    assert transforms == parse_transforms(list(names)) and hash(transforms) == hash(parse_transforms(names))
    raw = np.random.default_rng(1).integers(0, 256, (6, 13, 11, 3), np.uint8)
    images = jnp.asarray(raw).astype(jnp.float32) / 255
    eager = np.asarray(ops.apply_transforms(transforms, images, KEY))
    assert eager.shape[1:] == transforms.output_shape((13, 11, 3)) and eager.dtype == np.float32
    assert np.isfinite(eager).all()

    @jax.jit
    def inside(raw, key):
        return ops.apply_transforms(transforms, raw.astype(jnp.float32) / 255, key)

    np.testing.assert_array_equal(eager, inside(raw, KEY))
    with jax.enable_x64(True):
        double = ops.apply_transforms(transforms, jnp.asarray(raw).astype(jnp.float64) / 255, KEY)
    assert double.dtype == np.float64
    np.testing.assert_allclose(eager, double, atol=2e-6)  # the same draws


def test_the_key_decides_and_every_image_and_transform_has_its_own_draws():
    images = np.repeat(random_images(1, 16, 16), 40, axis=0)
    for name in ("random_crop:9", "random_horizontal_flip", "random_rotation:40"):
        once, again, other = (transform(images, name, key=jax.random.key(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(once, again)
        assert (once != other).any()
        assert len({image.tobytes() for image in once}) >= (2 if "flip" in name else 20)
    twice = transform(images, "random_horizontal_flip", "random_horizontal_flip")
    assert 0 < (twice == images).all((1, 2, 3)).sum() < 40  # the same draws would give 40


@pytest.mark.parametrize("name", [name for (name,) in EACH])
def test_what_draws_is_named_random(name):
    images = np.repeat(random_images(1, 16, 16), 40, axis=0)
    once, other = (transform(images, name, key=jax.random.key(seed)) for seed in (1, 2))
    assert (once != other).any() == bool(parse_transforms([name]).random)


@pytest.mark.parametrize("size", [(5, 5), (8, 20), (26, 33), (13, 4), (1, 1)])
def test_resize_is_that_of_torch(size):
    images = random_images()
    expected = torch.nn.functional.interpolate(in_torch(images), size, mode="bilinear", antialias=True)
    np.testing.assert_allclose(
        transform(images, "resize:{}:{}".format(*size)), from_torch(expected), atol=1e-5
    )


def test_resize_is_that_of_pil():
    image = Image.fromarray((random_images(1, 40, 30)[0] * 255).round().astype(np.uint8))
    expected = np.asarray(image.resize((15, 20), Image.Resampling.BILINEAR)) / 255
    ours = transform(np.asarray(image, np.float32)[None] / 255, "resize:15")[0]
    np.testing.assert_allclose(ours, expected, atol=1.01 / 255)  # PIL rounds to bytes, twice


@pytest.mark.parametrize("shape, size, expected", [((30, 40), 20, (20, 26)), ((40, 30), 45, (60, 45)),
                                                   ((7, 7), 3, (3, 3))])  # fmt: skip
def test_one_size_is_that_of_the_shorter_side(shape, size, expected):
    assert parse_transforms([f"resize:{size}"]).output_shape((*shape, 1)) == (*expected, 1)


def test_interpolation_of_a_part_crops_and_then_resizes():
    images = random_images(4)
    box = [np.array(values) for values in ([0, 2, 5, 12], [0, 1, 3, 10], [13, 4, 8, 1], [11, 9, 2, 1])]
    rows: Any = ops.interpolation(jnp, box[0], box[2], 13, 6, jnp.float32)
    columns = ops.interpolation(jnp, box[1], box[3], 11, 6, jnp.float32)
    ours = ops._interpolate(jnp.asarray(images), rows, columns)
    for image, result, y, x, h, w in zip(images, ours, *box, strict=True):
        part = in_torch(image[None, y : y + h, x : x + w])
        expected = torch.nn.functional.interpolate(part, (6, 6), mode="bilinear", antialias=True)
        np.testing.assert_allclose(result, from_torch(expected)[0], atol=1e-5)


def test_resized_crops_stay_within_their_scale():
    top, left, height, width = draw_boxes(4000, (96, 128), 0.3, 0.6)
    share, ratio = height * width / (96 * 128), width / height
    assert 0.29 < share.min() < 0.32 and 0.58 < share.max() < 0.61 and abs(share.mean() - 0.45) < 0.01
    assert 0.73 < ratio.min() < 0.77 and 1.3 < ratio.max() < 1.36 and abs(np.log(ratio).mean()) < 0.01
    assert top.min() == left.min() == 0 and (top + height).max() == 96 and (left + width).max() == 128


@pytest.mark.parametrize("shape, box", [((20, 100), (0, 36, 20, 27)), ((100, 20), (36, 0, 27, 20))])
def test_without_a_draw_that_fits_the_box_is_the_largest_central_part(shape, box):
    boxes = draw_boxes(50, shape, 1.0, 1.0)
    assert (boxes == np.array(box)[:, None]).all()


@pytest.mark.parametrize("height, width", [(13, 11), (12, 16)])
def test_rotation_is_that_of_torch_to_the_nearest_pixel(height, width):
    images, angles = random_images(8, height, width), np.linspace(-170, 163, 8)
    cosine, sine = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    ours = ops.rotate(jnp.asarray(images), *(jnp.asarray(v, jnp.float32) for v in (cosine, sine)))
    zero = 0 * angles
    theta = np.stack([cosine, -sine * height / width, zero, sine * width / height, cosine, zero], -1)
    theta = torch.from_numpy(theta.reshape(8, 2, 3))
    grid = torch.nn.functional.affine_grid(theta, [8, 3, height, width], align_corners=False)
    expected = torch.nn.functional.grid_sample(
        in_torch(images.astype(np.float64)), grid, mode="nearest", align_corners=False
    )
    np.testing.assert_allclose(ours, from_torch(expected), atol=1e-6)


def test_quarter_turns_are_exact():
    for side in (8, 9):
        images = random_images(1, side, side)
        for turns in (-1, 1, 2, 7):
            expected = np.rot90(images, turns, axes=(1, 2))
            np.testing.assert_array_equal(transform(images, f"random_rotation_from:{90 * turns}"), expected)


def test_every_angle_of_a_list_appears():
    images = np.repeat(random_images(1, 9, 9), 900, axis=0)
    turned = transform(images, "random_rotation_from:0,90,180")
    counts = [(turned == np.rot90(images, k, axes=(1, 2))).all((1, 2, 3)).sum() for k in range(3)]
    assert sum(counts) == 900 and min(counts) > 250


def test_rotations_are_uniform_within_their_range(monkeypatch):
    drawn: Any = {}
    monkeypatch.setattr(ops, "rotate", lambda images, c, s: drawn.update(angles=np.arctan2(s, c)))
    ops.random_rotation(jnp.zeros((4000, 1, 1, 1)), KEY, 30)
    angles = np.degrees(drawn["angles"])
    assert -30 <= angles.min() < -29.9 and 29.9 < angles.max() <= 30.001
    assert abs(angles.mean()) < 1 and abs(angles.std() - 30 / np.sqrt(3)) < 0.5


def test_random_crops_are_parts_at_uniform_positions():
    images = coordinate_images(5000, 8, 7)
    crops = transform(images, "random_crop:5")
    top, left = (crops[:, 0, 0] - 1).astype(int).T
    for image, crop, y, x in zip(images, crops, top, left, strict=True):
        np.testing.assert_array_equal(crop, image[y : y + 5, x : x + 5])
    counts = np.zeros((4, 3))
    np.add.at(counts, (top, left), 1)
    assert abs(counts - 5000 / 12).max() < 5 * np.sqrt(5000 / 12)


def test_random_crops_reach_into_the_padding():
    crops = transform(coordinate_images(500, 6, 6), "random_crop:6:2")
    zeros = (crops[..., 0] == 0).all(2).sum(1)
    assert set(zeros) == {0, 1, 2} and (crops[:, 0, 0, 0] == 3).any()


@pytest.mark.parametrize("name, axis", [("random_horizontal_flip", 2), ("random_vertical_flip", 1)])
@pytest.mark.parametrize("p", [0, 0.2, 0.5, 1])
def test_flips_have_their_probability(name, axis, p):
    images = coordinate_images(2000, 4, 5)
    flipped = transform(images, name if p == 0.5 else f"{name}:{p}")
    mirrored = (flipped == np.flip(images, axis)).all((1, 2, 3))
    assert (mirrored | (flipped == images).all((1, 2, 3))).all()
    assert abs(mirrored.mean() - p) <= 5 * np.sqrt(p * (1 - p) / 2000)


def test_pad_and_center_crop_are_exact():
    images = random_images(2, 13, 10)
    around = [(0, 0), (2, 2), (2, 2), (0, 0)]
    np.testing.assert_array_equal(transform(images, "pad:2"), np.pad(images, around))
    np.testing.assert_array_equal(transform(images, "center_crop:8"), images[:, 2:10, 1:9])  # 2.5 -> 2
    np.testing.assert_array_equal(transform(images, "center_crop:7"), images[:, 3:10, 2:9])  # 1.5 -> 2
    wide = np.pad(images, [(0, 0), (0, 0), (0, 1), (0, 0)])[:, 1:12]  # 10 -> 11: zeros at the end
    np.testing.assert_array_equal(transform(images, "center_crop:11"), wide)


def test_normalize_and_grayscale():
    images = random_images()
    mean, std = np.array([0.4, 0.5, 0.6], np.float32), np.array([0.2, 0.3, 0.4], np.float32)
    normalized = transform(images, "normalize:0.4,0.5,0.6:0.2,0.3,0.4")
    np.testing.assert_allclose(normalized, (images - mean) / std, atol=1e-6)
    grey = images @ np.array([0.2989, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(transform(images, "grayscale")[..., 0], grey, atol=1e-6)
    assert (transform(images, "grayscale:3") == transform(images, "grayscale")).all()
    np.testing.assert_array_equal(transform(images[..., :1], "grayscale:3"), np.repeat(images[..., :1], 3, 3))


def test_no_transforms_change_nothing():
    np.testing.assert_array_equal(transform(random_images()), random_images())


@pytest.mark.parametrize("text, message", [
    ("random_crops:4", "unknown transform 'random_crops': did you mean random_crop"),
    ("random_crop", r"0 arguments; write random_crop:SIZE\[:PADDING\]"),
    ("pad:1:2", "2 arguments; write pad:N"), ("pad:-1", "'-1' is not an integer of at least 0"),
    ("resize:0", "'0' is not an integer of at least 1"), ("random_crop:4:x", "'x' is not an integer"),
    ("random_horizontal_flip:1.5", "'1.5' is not a number from 0 to 1"),
    ("random_rotation:-3", "'-3' is not a number from 0;"),
    ("random_rotation_from:0,,9", "'' is not a number;"),
    ("normalize:0.5:0", "deviation must be above 0, got 0"), ("normalize:nan:1", "'nan' is not a number"),
    ("random_resized_crop:8:0.5:0.4", "0 < SCALE_LOW <= SCALE_HIGH, got 0.5 and 0.4"),
    ("random_resized_crop:8:0", "got 0 and 1"),
    ("grayscale:2", "1 or 3 channels, not '2'"),
])  # fmt: skip
def test_a_text_that_is_no_transform_is_an_error_of_one_line(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_transforms(["pad:1", text])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names, message", [
    (["resize:8", "random_crop:9"], "random_crop:9 is larger than the image, 9x8"),
    (["normalize:0,0:1"], "2 values of mean for 3 channels"),
    (["grayscale", "normalize:0:1,1,1"], "3 values of std for 1 channels"),
])  # fmt: skip
def test_transforms_that_do_not_fit_the_images_are_an_error(names, message):
    transforms = parse_transforms(names)
    with pytest.raises(ValueError, match=message):
        transforms.output_shape((13, 11, 3))
    with pytest.raises(ValueError, match=message):
        ops.apply_transforms(transforms, jnp.asarray(random_images()), KEY)


def test_bytes_and_single_images_are_refused():
    for images in (jnp.zeros((2, 4, 4, 1), jnp.uint8), jnp.zeros((4, 4, 1))):
        with pytest.raises(ValueError, match=r"take \(N, H, W, C\) floats in \[0, 1\], got"):
            ops.apply_transforms(parse_transforms(["pad:1"]), images, KEY)


def test_parsing_names_imports_no_jax():
    code = (
        "import sys; from train.data import preprocess\n"
        "from train.data.transforms import parse_transforms as p\n"
        "p(['random_crop:3']).output_shape((4, 4, 1)); preprocess.parse_preprocessing(['pca:2']);"
        "assert not {'jax', 'sklearn', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
