"""Texts for texts, lines and images: training, evaluation, the pages, and the answers to a user."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from convert.twins import TWINS
from tests.compilation import quicken
from tests.train.runs import call_commands
from tests.train.tasks.sequences import jitted
from train.data.sources import Data
from train.engine.loop import train
from train.engine.runs import Run, load_run
from train.recipes import RECIPES
from train.tasks import build_task
from train.tasks.models import build_model

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]
SPECIAL = ["<pad>", "<start>", "<end>", "<unknown>"]
LETTERS = [*SPECIAL, *"abcde"]
WORDS = [*SPECIAL, "a", "dark", "bright", "image"]
SYMBOLS = ["<blank>", "l", "t"]


def texts(count: int, seed: int) -> dict[str, np.ndarray]:
    """Sources of one to four letters, which are also the targets."""
    rng = np.random.default_rng(seed)
    source, target = np.zeros((count, 4), np.int32), np.zeros((count, 6), np.int32)
    for row in range(count):
        letters = rng.integers(4, 9, rng.integers(1, 5))
        source[row, : len(letters)] = letters
        target[row, : len(letters) + 2] = [1, *letters, 2]
    return {"source": source, "target": target}


def lines(count: int, seed: int) -> dict[str, np.ndarray]:
    """One to three bars, low (l) or tall (t), 12 pixels apart."""
    rng = np.random.default_rng(seed)
    image, label = np.zeros((count, 32, 48, 1), np.uint8), np.zeros((count, 3), np.int32)
    length = rng.integers(1, 4, count).astype(np.int32)
    for row in range(count):
        label[row, : length[row]] = rng.integers(1, 3, length[row])
        for place, symbol in enumerate(label[row, : length[row]]):
            image[row, 24 if symbol == 1 else 4 : 30, 12 * place + 3 : 12 * place + 9] = 255
    return {"image": image, "width": 12 * length, "label": label, "length": length}


def captioned(count: int, seed: int) -> dict[str, np.ndarray]:
    """Dark and bright images."""
    rng = np.random.default_rng(seed)
    bright = rng.integers(0, 2, count)
    image = (rng.integers(0, 60, (count, 64, 64, 3)) + 190 * bright[:, None, None, None]).astype(np.uint8)
    caption = np.stack([np.array([1, 4, 5 + one, 7, 2, 0], np.int32) for one in bright])
    return {"image": image, "caption": caption}


DATA: dict[str, Any] = {
    "seq2seq": Data(
        texts(256, 0), texts(32, 1), {"source_vocabulary": LETTERS, "target_vocabulary": LETTERS},
        reported={"short texts": texts(16, 2)},
    ),
    "ctc_reader": Data(lines(256, 0), lines(32, 1), {"symbols": SYMBOLS}),
    "captioner": Data(captioned(128, 0), captioned(16, 1), {"vocabulary": WORDS}),
}  # fmt: skip
SIZES = {
    "seq2seq": {"embedding_features": 12, "hidden_features": 24},
    "ctc_reader": {"width": 4, "hidden_features": 16},
    "captioner": {"width": 4, "embedding_features": 8, "hidden_features": 16},
}
STEPS = {"seq2seq": 200, "ctc_reader": 150, "captioner": 60}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    """A trained small run of every model, on data that is easy to learn."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        for model, data in DATA.items():
            recipe: Any = RECIPES[model]
            recipe = dataclasses.replace(
                recipe, dataset="arrays", options=SIZES[model], epochs=None, steps=STEPS[model],
                batch_size=16, checkpoint_every=10**6, evaluate_every=10**6, sample_every=10**6,
                optimizer=dataclasses.replace(recipe.optimizer, lr=1e-2),
            )  # fmt: skip
            train(recipe, folder / model, folder, data=data, quiet=True)
            found[model] = load_run(folder / model, data=data)
    return found


@pytest.mark.parametrize("model", DATA)
def test_it_learns_and_measures_the_exact_sequences(model, runs):
    last = runs[model].metrics[-1]
    assert last["test_exact"] >= 0.9 and last["loss"] < 0.2
    report = runs[model].evaluate()
    assert report.metrics["test exact"].value == pytest.approx(last["test_exact"])
    assert (runs[model].workdir / "curves.png").is_file()


@pytest.mark.parametrize(
    ("model", "page"), [("seq2seq", "attention"), ("ctc_reader", "lines"), ("captioner", "captions")]
)
def test_the_pages_of_a_training_are_saved(model, page, runs):
    file = runs[model].workdir / "samples" / f"{page}_{STEPS[model]:06d}.png"
    assert np.asarray(Image.open(file)).std() > 0


def test_reported_splits_are_measured_at_the_end(runs, tmp_path):
    run = runs["seq2seq"]
    records = run.metrics
    assert 0 < records[-1]["short_texts_exact"] <= 1
    assert not any("short_texts_exact" in record for record in records[:-1])
    report = run.evaluate()
    assert report.metrics["short texts exact"].value == pytest.approx(records[-1]["short_texts_exact"])
    report.write(tmp_path)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["reported"]["short texts"]["exact"] == report.metrics["short texts exact"].value
    assert report.show().endswith("on the short texts")


def test_the_error_rate_is_edits_per_symbol(runs):
    last = runs["ctc_reader"].metrics[-1]
    assert last["test_character_error_rate"] == pytest.approx(last["test_edits"] / last["test_symbols"])
    assert last["test_symbols"] == pytest.approx(DATA["ctc_reader"].test["length"].mean())


def test_padding_in_a_target_does_not_count():
    task = _task("seq2seq")
    state, batch = task.initial_state(), jax.tree.map(jnp.asarray, texts(8, 3))
    longer = {**batch, "target": jnp.pad(batch["target"], ((0, 0), (0, 3)))}
    ours, others = (jitted(task.evaluate)(state, one) for one in (batch, longer))
    for name, value in ours.items():
        assert float(value) == pytest.approx(float(others[name]), rel=1e-5), name


def test_a_line_that_is_too_narrow_does_not_stop_the_training():
    task = _task("ctc_reader")
    batch = lines(4, 3)
    batch["length"], batch["width"] = np.full(4, 3, np.int32), np.array([48, 4, 4, 48], np.int32)
    batch["label"] = np.ones((4, 3), np.int32)
    prepared = task.prepare(jax.tree.map(jnp.asarray, batch), jax.random.key(0))
    state, losses = jitted(task.step)(task.initial_state(), prepared, {})
    assert np.isfinite(float(losses["loss"]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_a_text_is_answered_with_alternatives_and_attention(runs, tmp_path):
    answer = runs["seq2seq"].answer(text=" b ca ", top=3)
    assert answer.rows[0][0] == answer.values[0][0]
    scores = [score for _, score in answer.values]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True) and scores[0] < 0
    assert answer.note == "never seen in training: ' '"
    known = runs["seq2seq"].answer(text="bca")
    assert known.values[0][0] == "bca" and known.note == "" and len(known.values) == 5
    assert known.save is not None and known.save(tmp_path) == ["attention.png"]
    assert np.asarray(Image.open(tmp_path / "attention.png")).std() > 0


def test_attention_lies_where_the_symbol_stands(runs):
    run = runs["seq2seq"]
    source = DATA["seq2seq"].test["source"][:8]
    written = run.task.write(run.state, source)
    for one in run.task.attention(run.state, source, written, run.meta):
        assert one.weights.shape == (len(one.written), len(one.read))
        np.testing.assert_allclose(one.weights.sum(1), 1, rtol=1e-4)


@pytest.mark.parametrize("model", ["ctc_reader", "captioner"])
def test_images_are_answered_by_position_and_by_file(model, runs, tmp_path):
    run, test = runs[model], DATA[model].test
    answer = run.answer(positions=[3, 0], top=2)
    names = [name for name, _ in answer.values]
    assert names == ["3", "0"] and answer.columns == ("image", "text", "probability", "true text")
    assert answer.rows[0][1] == answer.rows[0][3] and len(answer.rows) == 4
    assert answer.rows[1][0] == answer.rows[1][3] == ""
    image = test["image"][3] if model == "captioner" else test["image"][3][:, : test["width"][3], 0]
    Image.fromarray(image).save(tmp_path / "x.png")
    of_file = run.answer(files=[tmp_path / "x.png"])
    assert of_file.values[0][1][0][0] == answer.values[0][1][0][0] and len(of_file.columns) == 3
    if model == "ctc_reader":
        assert of_file.values[0][1][0][1] == pytest.approx(answer.values[0][1][0][1], abs=1e-4)
    assert of_file.save is not None and len(of_file.save(tmp_path)) == 1


def test_lines_of_different_widths_are_read_together(runs, tmp_path):
    test = DATA["ctc_reader"].test
    files = [tmp_path / f"{row}.png" for row in range(5)]
    for row, file in enumerate(files):
        Image.fromarray(test["image"][row][:, : test["width"][row], 0]).save(file)
    together = runs["ctc_reader"].answer(files=files)
    for row, file in enumerate(files):
        (alone,) = runs["ctc_reader"].answer(files=[file]).values
        assert alone[1][0][0] == together.values[row][1][0][0]


@pytest.mark.parametrize(
    ("model", "question", "message"),
    [
        ("seq2seq", {"text": "  "}, "no characters"),
        ("seq2seq", {"text": "a", "top": 0}, "top must be at least 1, got 0"),
        ("seq2seq", {}, "seq2seq needs the argument text"),
        ("seq2seq", {"text": "a", "positions": [1]}, "seq2seq does not take positions; it takes text, top"),
        ("ctc_reader", {}, "ctc_reader needs the argument positions or files"),
        ("ctc_reader", {"positions": [0], "files": ["x"]}, "takes only one of positions and files"),
        ("ctc_reader", {"positions": [32]}, "the test split has the positions 0 to 31, got 32"),
        ("ctc_reader", {"positions": []}, "at least one position is needed"),
        ("ctc_reader", {"positions": [0], "top": 0}, "top must be at least 1, got 0"),
        ("captioner", {"files": [Path("missing.png")]}, "missing.png cannot be read as an image"),
        ("captioner", {"positions": [-1]}, "got -1"),
    ],
)
def test_bad_questions_are_refused(model, question, message, runs):
    with pytest.raises(ValueError, match=message):
        runs[model].answer(**question)


def test_a_line_of_less_than_a_step_is_refused(runs, tmp_path):
    Image.new("L", (3, 64)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"x.png is too narrow: 2 pixels at a height of 32"):
        runs["ctc_reader"].answer(files=[tmp_path / "x.png"])


def test_the_command_answers(runs, tmp_path):
    file = tmp_path / "x.png"
    Image.fromarray(DATA["captioner"].test["image"][0]).save(file)
    folders = {model: str(run.workdir) for model, run in runs.items()}
    text, image, both, wrong = call_commands(
        [
            ("train.predict", [folders["seq2seq"], "--text", "bca", "--top", "2"]),
            ("train.predict", [folders["captioner"], str(file)]),
            ("train.predict", [folders["captioner"]]),
            ("train.predict", [folders["seq2seq"], "--text", "a", "--positions", "0"]),
        ],
        cwd=tmp_path,
    )
    assert text.status == 0 and "bca" in text.stdout and "attention.png" in text.stdout
    assert (runs["seq2seq"].workdir / "prediction" / "attention.png").is_file()
    assert image.status == 0 and "image" in image.stdout
    assert both.status == 2 and "needs the argument --positions or FILES" in both.message
    assert wrong.status == 2 and "does not take --positions; it takes --text, --top" in wrong.message


def _task(model: str) -> Any:
    sizes = {"source_size": len(LETTERS), "target_size": len(LETTERS)} if model == "seq2seq" else {}
    recipe = dataclasses.replace(RECIPES[model], options={**TWINS[model].tiny, **sizes})
    return build_task(recipe, build_model(recipe))
