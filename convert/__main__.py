"""Converts and certifies models: `python -m convert to-torch | to-flax | verify | ...`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from train.command_line import run_command
from train.recipes import find_recipe

if TYPE_CHECKING:
    from convert.certificate.result import Certificate

PROG = "python -m convert"


def to_torch(run: Annotated[Path, tyro.conf.Positional]) -> None:
    """Write a trained run as PyTorch weights and TorchScript, with its certificate, into RUN/export.

    Args:
        run: Run folder of train.run.
    """
    from convert.runs import run_to_torch

    _use_compilation_cache()
    certificate = run_to_torch(run)
    _show(certificate)
    print(f"wrote {run / 'export' / 'certificate.json'}")


def to_flax(
    file: Annotated[Path, tyro.conf.Positional], model: str, workdir: Path | None = None,
    optimizer: Path | None = None, dataset: str | None = None,
    options: dict[str, int | float | str] = {}, replace_head: bool = False,  # noqa: B006
) -> None:  # fmt: skip
    """Make a run folder from PyTorch weights, from which train.run continues.

    Args:
        file: State dict that torch.save wrote; it is read without running code.
        model: Name of the model; see python -m train.run --list.
        workdir: Run folder to make; by default runs/<model>.
        optimizer: The optimizer.pth of a to-torch export, to continue a run.
        dataset: Data set to continue with; by default the model's own.
        options: Arguments of the model's class, NAME VALUE NAME VALUE ...
        replace_head: If the file has a different number of classes, initialise the last layers instead of
            loading them.
    """
    find_recipe(model)
    from convert.runs import run_from_torch

    _use_compilation_cache()
    run_from_torch(
        file, model, workdir or Path("runs") / model, optimizer,
        options=options, dataset=dataset, replace_head=replace_head,
    )  # fmt: skip


def verify(
    model: str, tiny: bool = False, dream: bool = False, seed: int = 0, json: Path | None = None
) -> None:  # fmt: skip
    """Compare a model with its twin, on random weights, and print the certificate.

    Args:
        model: Name of the model; see python -m train.run --list.
        tiny: Use the small variant that the tests use.
        dream: Compare deep dreams instead, for a model that can dream, such as vgg16.
        seed: Seed of weights, inputs and noise.
        json: Also write the certificate to this file.
    """
    find_recipe(model)
    from convert.certificate.dream import verify_dream
    from convert.certificate.verify import verify
    from convert.twins import TWINS

    _use_compilation_cache()
    compare = verify_dream if dream else verify
    certificate = compare(model, options=TWINS[model].tiny if tiny else None, seed=seed)
    if json is not None:
        certificate.write(json)
    _show(certificate)


def summary(
    model: str, options: dict[str, int | float | str] = {}  # noqa: B006
) -> None:  # fmt: skip
    """Show both twins of a model side by side, layer by layer.

    Args:
        model: Name of the model; see python -m train.run --list.
        options: Arguments of the model's class: NAME VALUE NAME VALUE ...
    """
    find_recipe(model)
    from convert.summary import summarise, table_of

    _print(table_of(model, summarise(model, options)))


def table(runs: Annotated[list[Path], tyro.conf.Positional], write: Path | None = None) -> None:
    """Print one Markdown table of run folders that were exported with to-torch.

    Args:
        runs: Run folders.
        write: Put the table into this file, between its lines <!-- table --> and <!-- end -->; the rows of
            other models stay.
    """
    from convert.certificate.results_table import markdown, write_table

    if write is None:
        print(markdown(runs), end="")
        return
    write_table(runs, write)
    print(f"wrote {len(runs)} runs into the table of {write}")


def gallery(runs: Annotated[list[Path], tyro.conf.Positional], write: Path) -> None:
    """Show run folders on a Markdown page: a picture, the result, the certificate and the commands of each.

    Args:
        runs: Run folders, one for each model.
        write: The page. Its entries of other models stay. The pictures go into images/gallery/ beside it.
    """
    from convert.gallery import write_gallery

    write_gallery(runs, write)
    print(f"wrote {len(runs)} runs into {write}")


COMMANDS = {
    "to-torch": to_torch, "to-flax": to_flax, "verify": verify, "summary": summary, "table": table,
    "gallery": gallery,
}  # fmt: skip


def _use_compilation_cache() -> None:
    from train.backend import use_compilation_cache

    use_compilation_cache()


def _show(certificate: "Certificate") -> None:
    _print(certificate.table())
    if not certificate.passed:
        sys.exit(1)


def _print(renderable: Any) -> None:
    from rich.console import Console

    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(renderable)


def main(args: list[str]) -> None:
    """Runs a command. The flags of a command: python -m convert COMMAND --help."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog=PROG, description=__doc__, args=args or ["--help"]
        )
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ValueError(
            "this needs PyTorch, which is not installed: pip install -c constraints.txt torch"
        ) from None


if __name__ == "__main__":
    run_command(PROG, main)
