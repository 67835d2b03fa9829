"""A command starts anew with the allocator's settings, once, and only if it is the process's command."""

import json
import os
import platform
import subprocess
import sys
from typing import Any

import pytest

from train.allocator import SETTINGS, VARIABLE
from train.command_line import run_command

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's"),
]

PROGRAM = f"""
import json, os, sys
from train.command_line import run_command

def main(args):
    print(json.dumps([os.getpid(), os.environ.get({VARIABLE!r}), args, sys.flags.optimize]))

run_command("program", main)
"""


def run_program(**environment: str) -> tuple[int, list[Any]]:
    """(the number of the process, what it printed)."""
    variables = {name: value for name, value in os.environ.items() if name != VARIABLE}
    process = subprocess.Popen(
        [sys.executable, "-O", "-c", PROGRAM, "a", "b"], text=True, stdout=subprocess.PIPE,
        env={**variables, **environment},
    )  # fmt: skip
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return process.pid, json.loads(printed)


def test_a_command_gets_the_settings_and_keeps_its_process_and_its_arguments():
    number, printed = run_program()
    assert printed == [number, SETTINGS, ["a", "b"], 1]


@pytest.mark.parametrize("given", ["", "glibc.malloc.arena_max=1"])
def test_settings_of_the_user_stay(given):
    _, printed = run_program(**{VARIABLE: given})
    assert printed[1:] == [given, ["a", "b"], 1]


def test_a_command_that_another_program_calls_does_not_start_that_program_anew(monkeypatch, capsys):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("os.execve", lambda *_: pytest.fail("this process was started anew"))
    run_command("program", lambda args: print("called"))
    assert capsys.readouterr().out == "called\n"
