"""Asks a trained model: `python -m train.predict runs/lenet5 digit.png`, `... runs/lstm_regressor`.

A classifier gives the most probable classes of image files. It reads them as in training, and writes
predictions.json and a page, predictions.png, into the run folder's prediction/. A model that reads lines or
writes captions gives the texts of image files, or of test images by their positions, and writes a page. A
regressor forecasts its series; each forecast is an input of the next one. It writes forecast.png and
forecast.json. A language model gives the words that follow the two words of --context. A tagger tags the
words of --sentence. seq2seq writes the --text as another text, and a picture of its attention. Only
--positions needs the data set.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from train.command_line import parse_flags, run_command
from train.engine.run_folders import read_meta, read_recipe
from train.recipes import Capability, Recipe

PROG = "python -m train.predict"


@dataclass(frozen=True)
class Flags:
    """Classify images, forecast a series, continue a text or tag a sentence with a trained run."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of train.run."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """For a classifier, or a model that reads images: the image files."""
    steps_ahead: int | None = None
    """For a regressor: values to forecast beyond the end of the series; 12 if not given."""
    context: str | None = None
    """For a language model: the two words before, such as "so gazed"."""
    top: int | None = None
    """How many of the most probable classes, words or texts to show; 5 if not given."""
    sentence: str | None = None
    """For a tagger: the words to tag."""
    text: str | None = None
    """For a model that rewrites texts: the text, such as "4 mars 2021"."""
    positions: tuple[int, ...] | None = None
    """For a model that reads images: positions in the test split, such as 0 5 7, in place of files."""
    data_dir: Path = Path("data")
    """Folder of the data sets, for --positions."""


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    recipe = read_recipe(flags.run)
    given = question_of(flags, recipe)
    read_meta(flags.run)

    from rich.console import Console
    from rich.table import Table

    from train.backend import use_compilation_cache
    from train.engine.runs import load_run

    use_compilation_cache()
    answer = load_run(flags.run, data_dir=flags.data_dir).answer(**given)
    table = Table()
    for number, column in enumerate(answer.columns):
        of_numbers = number > 0 and all(_is_number(row[number]) for row in answer.rows)
        table.add_column(column, justify="right" if of_numbers else "left")
    for row in answer.rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)
    if answer.note:
        print(answer.note)
    if answer.save is not None:
        folder = flags.run / "prediction"
        folder.mkdir(exist_ok=True)
        print(f"wrote {folder}/: {', '.join(answer.save(folder))}")


def question_of(flags: Flags, recipe: Recipe) -> dict[str, object]:
    """The arguments of `Run.answer` that the flags give.

    Errors: ValueError for a run that cannot answer, and for flags that the model does not take.
    """
    recipe.require_capability(Capability.ANSWER, flags.run)
    flag_values = {name: value for name, value in vars(flags).items() if name not in ("run", "data_dir")}
    given = {name: value for name, value in flag_values.items() if value not in (None, ())}
    recipe.question.check(given, recipe.model, _flag)
    return given


def _flag(name: str) -> str:
    """How a user writes an argument: the positional one in capitals."""
    return name.upper() if name == "files" else f"--{name.replace('_', '-')}"


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).replace("-", "", 1).isdecimal()


if __name__ == "__main__":
    run_command(PROG, main)
