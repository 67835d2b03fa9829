"""Asks a trained sequence model: `python -m train.predict runs/lstm_regressor --steps-ahead 24`.

A regressor forecasts its series, each forecast taken for real in the next one's window, and writes
forecast.png and forecast.json into the run folder's prediction/. A language model says what follows the two
words of --context. A tagger tags the words of --sentence. The run folder is all that is needed.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from train.commands import parse_flags, run_command, use_compilation_cache
from train.config import LanguageRecipe, Recipe, SequenceRecipe, TagRecipe, read_meta, read_recipe
from train.lookup import look_up

PROG = "python -m train.predict"
STEPS_AHEAD, TOP = 12, 5
# What each kind of run can be asked, and what it needs to be asked.
ASKED: dict[type[Recipe], tuple[set[str], str | None]] = {
    SequenceRecipe: ({"steps_ahead"}, None),
    LanguageRecipe: ({"context", "top"}, "context"),
    TagRecipe: ({"sentence"}, "sentence"),
}


@dataclass(frozen=True)
class Flags:
    """Forecast a series, continue a text or tag a sentence with a trained run."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of train.run."""
    steps_ahead: int | None = None
    """Of a regressor: values to forecast beyond the end of the series; 12 where not given."""
    context: str | None = None
    """Of a language model: the two words before, such as "so gazed"."""
    top: int | None = None
    """Of a language model: how many of the likeliest words to show; 5 where not given."""
    sentence: str | None = None
    """Of a tagger: the words to tag."""


@dataclass(frozen=True)
class Forecast:
    """A series in its own units, with what a regressor says of it.

    real: (T,). predicted: of the last values of it, each from the real ones before. ahead: what follows.
    held: the position from which values were held out of the training. errors: root mean squares.
    """

    name: str
    held: int
    real: list[float]
    predicted: list[float]
    ahead: list[float]

    @property
    def errors(self) -> dict[str, float]:
        misses = np.subtract(self.predicted, self.real[-len(self.predicted) :])
        known = len(misses) - (len(self.real) - self.held)
        parts = {"trained on": misses[:known], "held out": misses[known:]}
        return {part: float(np.sqrt(np.square(values).mean())) for part, values in parts.items()}


def forecast(workdir: Path, steps_ahead: int = STEPS_AHEAD) -> Forecast:
    """A regressor's forecast of the series that it was trained on; writes prediction/forecast.json, .png.

    Errors: ValueError for less than one step, and a folder without a trained regressor.
    """
    if steps_ahead < 1:
        raise ValueError(f"--steps-ahead must be at least 1, got {steps_ahead}")
    run, task, meta = _load(workdir, SequenceRecipe)
    from train.tasks.sequence import save_forecast

    real, scale = np.asarray(meta["series"]), meta["scale"]
    predicted, ahead = task.forecast(run.state, real / scale, steps_ahead)
    result = Forecast(
        name=meta["columns"][0], held=meta["held"], real=real.tolist(),
        predicted=(predicted * scale).tolist(), ahead=(ahead * scale).tolist(),
    )  # fmt: skip
    folder = workdir / "prediction"
    folder.mkdir(exist_ok=True)
    values = {**asdict(result), "errors": result.errors}
    (folder / "forecast.json").write_text(json.dumps(values, indent=2) + "\n")
    save_forecast(real, predicted * scale, ahead * scale, result.held, folder / "forecast.png", result.name)
    return result


def next_words(workdir: Path, context: str, top: int = TOP) -> list[tuple[str, float]]:
    """The likeliest words to follow two others, each with its probability, the first the likeliest.

    Errors: ValueError for other than two words, a word that was not in the training text, with near
    matches, and a folder without a trained language model.
    """
    words = context.split()
    if len(words) != 2:
        raise ValueError(f'--context takes two words, such as "so gazed", got {context!r}')
    if top < 1:
        raise ValueError(f"--top must be at least 1, got {top}")
    run, task, meta = _load(workdir, LanguageRecipe)
    vocabulary = meta["vocabulary"]
    place = {word: number for number, word in enumerate(vocabulary)}
    numbers = np.array([[look_up(place, word, "word") for word in words]], np.int32)
    (probabilities,) = task.probabilities(run.state, numbers)
    return [(vocabulary[number], float(probabilities[number])) for number in np.argsort(-probabilities)[:top]]


def tag_words(workdir: Path, sentence: str) -> list[tuple[str, str, bool]]:
    """(word, its tag, whether the word was in the training data) for every word of a sentence.

    Errors: ValueError for a sentence without words, and a folder without a trained tagger.
    """
    words = sentence.split()
    if not words:
        raise ValueError("--sentence has no words")
    run, task, meta = _load(workdir, TagRecipe)
    from train.data.tagged import encode_words

    logits = np.asarray(task.predict(run.state, encode_words([words], meta["vocabulary"])))[0]
    tags = [meta["tags"][number] for number in logits.argmax(-1)]
    return [(word, tag, word.lower() in meta["vocabulary"]) for word, tag in zip(words, tags, strict=True)]


def _load(workdir: Path, kind: type[Recipe]) -> tuple[Any, Any, dict[str, Any]]:
    """(the run, its task, what its data.json says)."""
    recipe = read_recipe(workdir)
    if not isinstance(recipe, kind):
        raise ValueError(f"{workdir} holds {recipe.model}, a run of the task {recipe.task}, not {kind.task}")
    meta = read_meta(workdir)
    from train.runs import load_run
    from train.tasks import build_task

    run = load_run(workdir)
    return run, build_task(run.recipe, run.model), meta


def check(flags: Flags, recipe: Recipe) -> None:
    """ValueError for a run that cannot be asked, or flags that are for another kind of run."""
    if type(recipe) not in ASKED:
        kinds = ", ".join(kind.task for kind in ASKED)
        raise ValueError(f"{flags.run} holds {recipe.model}: predict asks runs of the tasks {kinds}")
    possible, needed = ASKED[type(recipe)]
    given = {
        name for name in ("steps_ahead", "context", "top", "sentence") if getattr(flags, name) is not None
    }
    for name in sorted(given - possible):
        takes = ", ".join(sorted(map(_flag, possible)))
        raise ValueError(f"{_flag(name)} is not for {recipe.model}, which takes {takes}")
    if needed and needed not in given:
        raise ValueError(f"{_flag(needed)} is needed to ask {recipe.model}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def show(flags: Flags, recipe: Recipe) -> None:
    """Asks the run and prints the answer as a table."""
    from rich.console import Console
    from rich.table import Table

    def given(name: str, default: Any) -> Any:
        value = getattr(flags, name)
        return default if value is None else value

    table, last = Table(), ""
    if isinstance(recipe, SequenceRecipe):
        result = forecast(flags.run, given("steps_ahead", STEPS_AHEAD))
        columns = "steps ahead", result.name
        rows = [(str(step), f"{value:.4g}") for step, value in enumerate(result.ahead, 1)]
        errors = ", ".join(f"{error:.4g} {part}" for part, error in result.errors.items())
        last = f"one-step errors, root mean square: {errors}\nwrote {flags.run / 'prediction'}/: "
        last += "forecast.json, forecast.png"
    elif isinstance(recipe, LanguageRecipe):
        columns = f"after {flags.context!r}", "probability"
        found = next_words(flags.run, flags.context or "", given("top", TOP))
        rows = [(word, f"{probability:.4f}") for word, probability in found]
    else:
        columns = "word", "tag", ""
        tagged = tag_words(flags.run, flags.sentence or "")
        rows = [(word, tag, "" if seen else "never seen") for word, tag, seen in tagged]
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number and column != "tag" else "left")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)
    if last:
        print(last)


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    recipe = read_recipe(flags.run)
    check(flags, recipe)
    use_compilation_cache()
    show(flags, recipe)


if __name__ == "__main__":
    run_command(PROG, main)
