"""The gallery, a page of trained models: `python -m convert gallery runs/* --write docs/gallery.md`."""

import dataclasses
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from convert.certificate.results_table import (
    Results,
    certified_errors,
    export_error,
    main_metric,
    read_results,
)
from convert.pages import BEGIN, END, read_section, write_section
from convert.twins import TWINS
from train.engine.comparison import last_grid
from train.engine.progress import duration
from train.engine.run_folders import read_meta, write_text
from train.engine.runs import load_run
from train.plotting.pictures import check_picture_file, save_picture
from train.recipes import Capability, Recipe
from train.recipes.flags import flags_of
from train.tasks.models import fit_options

LARGEST = 640  # pixels per side of an image
EVALUATIONS = ("evaluation/predictions.png", "prediction/forecast.png", "evaluation/confusion.png")
IMAGES = "images/gallery"
INTRODUCTION = f"""# Gallery

Every model with what it makes, its result, its certificate and its commands. This command wrote the page:

```sh
python -m convert gallery runs/* --write docs/gallery.md
```

A certificate compares the trained model with PyTorch, in float64 and in float32. An error is
max|a - b| / max(1, max|b|). Errors marked * are of the small variant of the model. Errors marked † are of
steps that each start from PyTorch's state, because the model is chaotic; [models.md](models.md) says more.

{BEGIN}
{END}
"""


class Entry(NamedTuple):
    """One model of the gallery. picture: the file to show; None if the run has made none."""

    model: str
    text: str
    picture: Path | None


def write_gallery(workdirs: Sequence[Path], page: Path) -> None:
    """Writes the runs into the section of a page, and their pictures into images/gallery/ beside the page.

    The section is between the lines `<!-- table -->` and `<!-- end -->`. A page that is not there is made.
    The entries of other models stay. The order is that of the catalogue.
    Errors: ValueError for a folder without a run or metrics, two runs of one model, a model that is not in
    the catalogue, and a page without these lines. Nothing is written then.
    """
    entries: dict[str, Entry] = {}
    for workdir in workdirs:
        entry = entry_of(workdir)
        if entry.model in entries:
            raise ValueError(f"{workdir} is a second run of {entry.model}: give one run for each model")
        entries[entry.model] = entry
    old = read_section(page) if page.exists() else ""
    texts = {**_entries_in(old), **{model: entry.text for model, entry in entries.items()}}
    for entry in entries.values():
        if entry.picture is not None:
            target = page.parent / IMAGES / f"{entry.model}.png"
            check_picture_file(target)
            with Image.open(entry.picture) as picture:
                shown = picture.convert("RGB")
            shown.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
            save_picture(shown, target, optimize=True)
    if not page.exists():
        write_text(page, INTRODUCTION)
    write_section(page, "\n".join(texts[model] for model in TWINS if model in texts))


def entry_of(workdir: Path) -> Entry:
    """The entry of one run. Errors: ValueError for a folder without metrics, and for a user's own model."""
    results = read_results(workdir)
    model = results.recipe.model
    if model not in TWINS:
        raise ValueError(f"{workdir} is a run of {model}, which is not in the catalogue")
    picture = last_grid(workdir) or next(
        (workdir / name for name in EVALUATIONS if (workdir / name).is_file()), None
    )
    shown = [f"## {model}"]
    if picture is not None:
        shown.append(f"![{model}]({IMAGES}/{model}.png)")
    answer = _answer(results.recipe, workdir)
    if answer:
        shown.append(answer)
    last = results.last
    shown.append(
        f"{results.parameters:,} parameters, trained on {results.recipe.dataset} for {last['step']} steps in "
        f"{duration(last['seconds'])}: {main_metric(last)}."
    )
    shown += [certificate_line(results), f"```sh\n{commands_of(results.recipe, workdir)}\n```"]
    return Entry(model, "\n\n".join(shown) + "\n", picture)


def certificate_line(results: Results) -> str:
    """What the certificate of a run says, in one paragraph."""
    certificate = results.certificate
    if certificate is None:
        return "**No certificate**: this run has not been exported."
    checks = certificate["checks"]
    failed = sum(not check["passed"] for check in checks)
    verdict = f"**FAILS** {failed} of {len(checks)} checks" if failed else f"passes all {len(checks)} checks"
    outputs, gradients, steps = certified_errors(certificate)
    line = (
        f"The certificate {verdict}, with {certificate['weights']}. The largest errors in float64 are "
        f"{outputs} for outputs, {gradients} for gradients and {steps} for {certificate['steps']} steps."
    )
    if certificate["exports"]:
        line += f" The exported TorchScript differs from Flax by {export_error(certificate)} in float32."
    return line


def commands_of(recipe: Recipe, workdir: Path) -> str:
    """The commands that train, show and export the run, one per line."""
    folder = f"runs/{workdir.resolve().name}"
    commands = []
    try:
        flags = flags_of(_as_given(recipe, workdir))
        named = [] if folder == f"runs/{recipe.model}" else ["--workdir", folder]
        commands.append(["python", "-m", "train.run", *flags, *named])
    except ValueError:  # trained from Python, with values that have no flag
        pass
    if {Capability.SAMPLE, Capability.TRANSLATE} & recipe.capabilities:
        commands.append(["python", "-m", "train.generate", folder])
    elif Capability.ANSWER in recipe.capabilities and Capability.CLASSIFY not in recipe.capabilities:
        given = [
            word for name, value in recipe.question.example.items() for word in (f"--{name}", str(value))
        ]
        commands.append(["python", "-m", "train.predict", folder, *given])
    else:
        commands.append(["python", "-m", "train.evaluate", folder])
    commands.append(["python", "-m", "convert", "to-torch", folder])
    return "\n".join(map(shlex.join, commands))


def _as_given(recipe: Recipe, workdir: Path) -> Recipe:
    """The recipe without the options that training takes from the data set."""
    meta = read_meta(workdir) if (workdir / "data.json").is_file() else {}
    inferred = fit_options(dataclasses.replace(recipe, options={}), meta).options
    options = {name: value for name, value in recipe.options.items() if inferred.get(name) != value}
    return dataclasses.replace(recipe, options=options)


def _answer(recipe: Recipe, workdir: Path) -> str:
    """The answer to the example question as a Markdown table; "" if there is none."""
    if not recipe.question.example:
        return ""
    try:
        answer = load_run(workdir).answer(**recipe.question.example)
    except ValueError:  # the words of another data set, or a data set that is not here
        return ""
    rows = [answer.columns, ["---"] * len(answer.columns), *answer.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _entries_in(section: str) -> dict[str, str]:
    """{model: its entry} of a section."""
    texts = re.split(r"^(?=## )", section, flags=re.MULTILINE)
    return {text.splitlines()[0].removeprefix("## "): text.strip() + "\n" for text in texts if text.strip()}
