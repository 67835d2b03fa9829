"""The commands of the bridge: `python -m convert to-torch | to-flax | verify | table`."""

import functools
import sys
from pathlib import Path
from typing import Annotated

import tyro

from train.commands import parse_flags, run_command, use_compilation_cache
from train.recipes import find_recipe

PROG = "python -m convert"


def to_torch(run: Annotated[Path, tyro.conf.Positional]) -> None:
    """Write a trained run as PyTorch weights and TorchScript, with its certificate, into RUN/export.

    Args:
        run: Run folder of train.run.
    """
    from convert.runs import run_to_torch

    certificate = run_to_torch(run)
    _show(certificate)
    print(f"wrote {run / 'export' / 'certificate.json'}")


def to_flax(
    file: Annotated[Path, tyro.conf.Positional], model: str, workdir: Path | None = None,
    optimizer: Path | None = None, dataset: str | None = None,
    options: dict[str, int | float | str] = {}, replace_head: bool = False,  # noqa: B006
) -> None:  # fmt: skip
    """Make a run folder from PyTorch weights, for train.run to go on from.

    Args:
        file: State dict that torch.save wrote; it is read without running code.
        model: Name of the model; see python -m train.run --list.
        workdir: Run folder to make; runs/<model> where not given.
        optimizer: The optimizer.pth of a to-torch export, to go on in mid-training.
        dataset: Data set to go on with; the model's own where not given.
        options: Arguments of the model's class, NAME VALUE NAME VALUE ...
        replace_head: Begin the last layers anew where the file has another number of classes.
    """
    find_recipe(model)
    from convert.runs import run_from_torch

    run_from_torch(
        file, model, workdir or Path("runs") / model, optimizer,
        options=options, dataset=dataset, replace_head=replace_head,
    )  # fmt: skip


def verify(model: str, tiny: bool = False, seed: int = 0, json: Path | None = None) -> None:
    """Compare a model with its twin, on random weights, and print the certificate.

    Args:
        model: Name of the model; see python -m train.run --list.
        tiny: Use the small variant that the tests use.
        seed: Seed of weights, inputs and noise.
        json: Also write the certificate to this file.
    """
    find_recipe(model)
    from convert.certificate import verify
    from convert.twins import TWINS

    certificate = verify(model, options=TWINS[model].tiny if tiny else None, seed=seed)
    if json is not None:
        certificate.write(json)
    _show(certificate)


def table(runs: Annotated[list[Path], tyro.conf.Positional], write: Path | None = None) -> None:
    """Show run folders that to-torch has been run on as one Markdown table.

    Args:
        runs: Run folders.
        write: Put the table into this file, between its lines <!-- table --> and <!-- end -->; what stands
            there of other models stays.
    """
    from convert.table import markdown

    if write is None:
        print(markdown(runs), end="")
        return
    before, mark, rest = write.read_text().partition(BEGIN) if write.is_file() else ("", "", "")
    old, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"{write} has no lines {BEGIN} and {END} for the table to stand between")
    write.write_text(f"{before}{BEGIN}\n{markdown(runs, old)}{END}{after}")
    print(f"wrote {len(runs)} runs into the table of {write}")


COMMANDS = {"to-torch": to_torch, "to-flax": to_flax, "verify": verify, "table": table}
BEGIN, END = "<!-- table -->", "<!-- end -->"


def _bound(command):
    """The command as a function of the same flags that returns a call of it, to be made later."""

    @functools.wraps(command)
    def bind(*args, **kwargs):
        return functools.partial(command, *args, **kwargs)

    return bind


def _show(certificate) -> None:
    from rich.console import Console

    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(certificate.table())
    if not certificate.passed:
        sys.exit(1)


def main(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help"):
        print(__doc__)
        for name, command in COMMANDS.items():
            print(f"  {name:<9} {command.__doc__.splitlines()[0]}")
        print(f"\nFlags of a command: {PROG} COMMAND --help")
        return
    if args[0] not in COMMANDS:
        raise ValueError(f"unknown command {args[0]!r}: there are {', '.join(COMMANDS)}")
    call = parse_flags(_bound(COMMANDS[args[0]]), args[1:], prog=f"{PROG} {args[0]}")
    use_compilation_cache()
    call()


if __name__ == "__main__":
    run_command(PROG, main)
