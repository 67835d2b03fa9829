"""Deep dream with a trained network: the octaves, the gradient ascent, and the command."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import train
from flax_models.dream import DeepDream
from tests.compilation import QUICK, quicken
from train import dream as command
from train.command_line import run_command
from train.engine.dreaming import build_dreamer, dream, smallest_side
from train.engine.octaves import DreamSettings, dream_octaves, halve, resize
from train.recipes import RECIPES
from train.tasks.models import abstract_model

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]
OPTIONS = {"width": 2, "hidden_features": 4, "num_classes": 2}
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)
FAST = {"layer": 5, "size": 16, "rate": 2.0}


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """The run of a small VGG after one step."""
    images = np.random.default_rng(1).random((8, 32, 32, 3), np.float32)
    workdir = tmp_path_factory.mktemp("runs") / "vgg11"
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        return train.fit(
            "vgg11", workdir, (images, np.arange(8) % 2), options=OPTIONS, steps=1, batch_size=8, quiet=True
        )


@pytest.fixture
def dreamer(vgg) -> DeepDream:
    return build_dreamer(vgg.model, "vgg11", DreamSettings(**FAST))


def test_a_picture_is_halved_until_it_would_fall_under_a_pixel():
    picture = Image.new("RGB", (640, 427))
    sizes = [halved.size for halved in halve(picture, DreamSettings())]
    assert sizes == [
        (2, 1), (5, 3), (10, 6), (20, 13), (40, 26), (80, 53), (160, 106), (320, 213), (640, 427)
    ]  # fmt: skip
    assert [p.size for p in halve(picture, DreamSettings(octaves=1))] == [(320, 213), (640, 427)]
    own = halve(picture, DreamSettings(size=None), smallest=100)
    assert [p.size for p in own] == [(160, 106), (320, 213), (640, 427)]
    assert len(halve(Image.new("RGB", (2**25, 2)), DreamSettings(octaves=0))) == 1


def test_an_octave_is_mixed_with_the_dream_below_it():
    pictures = [Image.new("RGB", (2, 2), (255, 255, 255)), Image.new("RGB", (4, 4), (0, 0, 0))]
    seen: list[np.ndarray] = []

    def draw(image):
        seen.append(image)
        return image

    first, last = dream_octaves(pictures, draw, DreamSettings(size=8))
    assert [image.shape for image in seen] == [(8, 8, 3)] * 2
    assert first.image.shape == (2, 2, 3) and last.image.shape == (4, 4, 3)
    np.testing.assert_allclose(last.image, 0.6, rtol=1e-6)
    plain = [octave.drawn.shape for octave in dream_octaves(pictures, draw, DreamSettings(size=None))]
    assert plain == [(2, 2, 3), (4, 4, 3)]


def test_a_dream_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match=r"not finite at the rate 9\.0: choose a smaller rate"):
        next(dream_octaves([Image.new("RGB", (2, 2))], lambda image: np.nan * image, DreamSettings(rate=9.0)))


def test_resizing_keeps_the_range_and_a_picture_of_the_same_size():
    image = np.zeros((3, 4, 3))
    image[1, 2] = 1
    assert np.array_equal(resize(image, (4, 3)), image)
    larger = resize(image, (40, 30))
    assert larger.shape == (30, 40, 3) and larger.min() == 0 and 0 < larger.max() <= 1


def call(dreamer, method, *arrays):
    """A method of a DeepDream in one compiled program."""
    graph, state = nnx.split(dreamer)

    def run(state, *arrays):
        return getattr(nnx.merge(graph, state), method)(*arrays)

    return jax.jit(run, compiler_options=QUICK)(state, *arrays)


def test_gradients_add_up_over_the_iterations(dreamer):
    images = jnp.asarray(np.random.default_rng(2).uniform(0.2, 0.8, (2, 8, 12, 3)), jnp.float32)
    start = dreamer.normalize(images)
    norms, first = call(dreamer, "norms_and_gradient", start)
    assert norms.shape == (2,) and np.abs(first).max((1, 2, 3)).min() > 1e-2
    _, second = call(dreamer, "norms_and_gradient", start + 2 * first)
    dreamer.iterations = 2
    for accumulate, added in ((True, 2 * first + second), (False, first + second)):
        dreamer.accumulate = accumulate
        drawn = call(dreamer, "__call__", images)
        assert 0 <= drawn.min() < drawn.max() <= 1
        np.testing.assert_allclose(drawn, dreamer.denormalize(start + 2 * added), atol=1e-5)


def test_the_norm_grows(dreamer):
    x = dreamer.normalize(jnp.asarray(PICTURE[None] / 255, jnp.float32))
    norms = []
    for _ in range(3):
        x, _, (norm,) = call(dreamer, "iterate", x, jnp.zeros_like(x))
        norms.append(float(norm))
    assert norms[0] < norms[1] < norms[2]


def test_the_gradient_of_a_layer_without_activity_is_zero(dreamer):
    nnx.update(dreamer, jax.tree.map(np.zeros_like, nnx.state(dreamer)))
    norms, gradient = call(dreamer, "norms_and_gradient", jnp.ones((1, 8, 8, 3)))
    assert float(norms[0]) == 0 and not np.asarray(gradient).any()


@pytest.mark.parametrize(("model", "layer"), [("vgg16", 28), ("vgg11", 18), ("alexnet", 10)])
def test_by_default_the_layer_before_the_last_convolution_dreams(model, layer):
    abstract = abstract_model(RECIPES[model])
    features = build_dreamer(abstract, model, DreamSettings()).features
    assert len(features) == layer


def test_the_size_that_a_network_needs_is_found(vgg):
    for layer, side in ((2, 1), (3, 2), (21, 32)):
        dreamer = build_dreamer(vgg.model, "vgg11", DreamSettings(layer=layer))
        assert smallest_side(dreamer, "vgg11") == side


def test_a_dream_has_the_size_of_the_picture(vgg, capsys):
    found = dream(vgg, PICTURE, DreamSettings(**FAST))
    assert found.image.shape == PICTURE.shape and found.image.dtype == np.uint8
    assert [octave.shape[:2] for octave in found.octaves] == [(1, 1), (2, 3), (5, 7), (10, 15), (20, 31)]
    assert np.array_equal(found.octaves[-1], found.image) and capsys.readouterr().out == ""
    assert np.abs(found.image.astype(int) - PICTURE).max() > 20
    again = dream(vgg, PICTURE / 255, DreamSettings(**FAST))
    assert np.array_equal(found.image, again.image)
    grey = dream(vgg, PICTURE[..., :1], DreamSettings(**FAST, octaves=0))
    assert grey.image.shape == PICTURE.shape


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PICTURE[0], "an image is an array"),
        (np.zeros((4, 4, 2)), "an image is an array"),
        (2.0 * np.ones((4, 4, 3)), "floats in"),
        (np.ones((4, 4, 3), int), "got int64"),
    ],
)
def test_an_array_that_is_no_image_is_refused(vgg, image, message):
    with pytest.raises(ValueError, match=message):
        dream(vgg, image)


def test_the_command_writes_a_dream_and_its_octaves(vgg, tmp_path, capsys):
    Image.fromarray(PICTURE).save(tmp_path / "photo.png")
    out, gif = tmp_path / "new" / "dream.png", tmp_path / "octaves.gif"
    flags = ["--layer", "5", "--size", "16", "--rate", "2"]
    command.main([
        str(tmp_path / "photo.png"), "--out", str(out), "--gif", str(gif), "--run", str(vgg.workdir), *flags
    ])  # fmt: skip
    with Image.open(out) as picture:
        assert np.array_equal(np.asarray(picture), dream(vgg, PICTURE, DreamSettings(**FAST)).image)
    with Image.open(gif) as animation:
        assert animation.size == (31, 20) and getattr(animation, "n_frames", 1) == 5
    shown = capsys.readouterr().out
    assert "octave 5/5  31x20 pixels  norm " in shown and shown.endswith(f"wrote {out}\nwrote {gif}\n")
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "new", "octaves.gif"}


def test_without_a_picture_it_dreams_about_a_photograph(vgg, tmp_path, capsys):
    flags = ["--layer", "3", "--size", "16", "--octaves", "0", "--iterations", "1"]
    command.main(["--out", str(tmp_path / "dream.jpg"), "--run", str(vgg.workdir), *flags])
    with Image.open(tmp_path / "dream.jpg") as picture:
        assert picture.size == (640, 427) and picture.format == "JPEG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "d.png"], "--run is needed, the run folder of a VGG: make one from published weights"),
        (["--out", "d.png", "--run", "nowhere"], "nowhere is not a run folder"),
        (["--out", "d.png", "--run", "RUN", "--layer", "22"], "21 modules in its features, got layer 22"),
        (["--out", "d.png", "--run", "RUN", "--layer", "0"], "layer must be at least 1, got 0"),
        (["--out", "d.png", "--run", "RUN", "--rate", "0"], "rate must be positive and finite, got 0.0"),
        (["--out", "d.png", "--run", "RUN", "--rate", "nan"], "rate must be positive and finite, got nan"),
        (["--out", "d.png", "--run", "RUN", "--size", "8"], "takes at least 16 pixels per side, got 8"),
        (["--out", "d.txt", "--run", "RUN"], "d.txt must have a suffix such as .png or .jpg"),
        (["--out", "text/d.png", "--run", "RUN"], "text/d.png cannot be written"),
        (["--out", "folder.png", "--run", "RUN"], "folder.png is a folder"),
        (["--out", "d.png", "--gif", "d.png", "--run", "RUN"], "d.png must have a suffix such as .gif"),
        (["missing.png", "--out", "d.png", "--run", "RUN"], "there is no file missing.png"),
        (["text", "--out", "d.png", "--run", "RUN"], "text cannot be read as an image"),
        (["--out", "d.png", "--run", "MLP"], "fashion_mlp has no Sequential `features`"),
    ],
)  # fmt: skip
def test_a_bad_value_gets_one_line_and_status_2(
    arguments, message, vgg, classifier, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("text")
    (tmp_path / "folder.png").mkdir()
    folders = {"RUN": str(vgg.workdir), "MLP": str(classifier)}
    monkeypatch.setattr("sys.argv", ["dream", *(folders.get(argument, argument) for argument in arguments)])
    with pytest.raises(SystemExit) as stopped:
        run_command(command.PROG, command.main)
    shown = capsys.readouterr()
    assert stopped.value.code == 2 and message in shown.err
    assert shown.err.startswith("python -m train.dream: ") and shown.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"text", "folder.png"}
