"""The packages and the layers inside them import in one direction, and commands load nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

import convert.__main__
from tests import house
from tests.train.runs import HEAVY_MODULES, call_commands

pytestmark = pytest.mark.jax_only

ROOT = Path(__file__).parent.parent
SOURCES = house.sources_of(ROOT, house.PACKAGES)
IMPORTS = house.imports_of(SOURCES)
COMMANDS = [
    *(f"train.{path.stem}" for path in sorted((ROOT / "train").glob("*.py"))
      if path.stem not in house.BASE | {"__init__", "summary"}),
    "convert.__main__",
]  # fmt: skip


def test_packages_import_in_one_direction():
    assert house.package_faults(IMPORTS) == []


def test_layers_import_in_one_direction():
    assert house.layer_faults(IMPORTS) == []


def test_no_modules_import_each_other():
    assert house.cycles(IMPORTS) == []


def test_commands_and_engine_do_not_ask_for_the_class_of_a_recipe():
    asking = [
        name for name in SOURCES if name in COMMANDS or name.startswith(("train.engine", "benchmarks."))
    ]
    assert len(asking) > 20
    assert [fault for name in asking for fault in house.branches_on_recipes(name, SOURCES[name])] == []


def test_torch_jit_is_named_in_one_file():
    assert [name for name, source in SOURCES.items() if "torch.jit" in source] == [
        "convert.formats.torchscript"
    ]


def test_the_check_sees_the_house():
    """The imports that are hardest to see are among those that were found."""
    found = {(one.importer, one.target, one.kind) for one in IMPORTS}
    assert ("train", "train.engine.runs", "dynamic") in found  # lazy_attributes
    assert ("train", "train.engine.runs", "type") in found
    assert ("train.run", "train.engine.loop", "import") in found  # in a function
    assert ("train.tasks", "train.tasks.gan", "dynamic") in found  # an f-string
    assert ("flax_models", "flax_models.lenet", "dynamic") in found  # an f-string that begins with __name__
    assert ("train.data.datasets", "train.data.readers.digits", "string") in found
    assert {one.importer for one in IMPORTS if one.target == "?"} == house.OPEN.keys()
    assert {name.split(".")[0] for name in SOURCES} == house.PACKAGES.keys()


# Every rule finds what breaks it. PLANTED: (module, its source, the fault).

EXISTING = dict.fromkeys(
    (
        "train", "train.run", "train.evaluate", "train.lazy", "train.lookup", "train.engine",
        "train.engine.loop", "train.engine.runs", "train.tasks", "train.tasks.gan", "train.tasks.vae",
        "train.recipes", "train.recipes.base", "train.data", "train.data.readers",
        "train.data.readers.digits",
        "train.optim", "train.plotting", "convert", "convert.__main__", "convert.runs", "convert.formats",
        "convert.certificate", "convert.weights", "convert.layouts", "convert.twins", "flax_models",
        "flax_models.lenet", "flax_models.layers", "flax_models.layers.conv", "flax_models.layers.ops",
        "torch_models", "benchmarks",
    ),
    "",
)  # fmt: skip
GUARD = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
DYNAMIC = "import importlib\nimportlib."
PACKAGE_FAULTS = [
    ("flax_models.new", "import train.optim", "imports train.optim"),
    ("flax_models.new", "from torch import nn", "imports torch.nn"),
    ("torch_models.new", "import jax.numpy as jnp", "imports jax.numpy"),
    ("train.data.new", "def read():\n    import torch", "imports torch"),
    ("train.data.new", "def read():\n    from convert.twins import TWINS", "imports convert.twins"),
    ("train.data.new", DYNAMIC + "import_module('convert.runs')", "imports convert.runs"),
    ("train.data.new", DYNAMIC + "import_module(f'convert.{name}')", "imports convert.runs"),
    ("train.new", "import runpy\nrunpy.run_module('convert.__main__')", "imports convert.__main__"),
    ("train.data.new", "__import__('torch_models')", "imports torch_models"),
    ("train.data.new", "ROW = 'convert.twins:TWINS'", "imports convert.twins"),
    ("train.new", "lazy_attributes(__name__, {'convert.runs': ('x',)})", "imports convert.runs"),
    ("train.data.new", GUARD + "import convert", "imports convert"),
    ("train.data.new", DYNAMIC + "import_module(name)", "whose name is computed"),
    ("train.data.new", "import tests.house", "imports tests.house"),
    ("convert.new", "import examples.own_model", "imports examples.own_model"),
    ("convert.new", "import benchmarks", "imports benchmarks"),
]  # fmt: skip
LAYER_FAULTS = [
    ("train.engine.new", "from train import run", "imports train.run"),
    ("train.engine.new", "from train import fit", "imports train"),
    ("train.new", "from train.evaluate import main", "imports train.evaluate"),
    ("convert.new", "import train.run", "imports train.run"),
    ("train.tasks.new", "from train.engine.loop import train", "imports train.engine.loop"),
    ("train.tasks.new", "def f():\n    from ..engine import loop", "imports train.engine.loop"),
    ("train.recipes.new", "from train.tasks import gan", "imports train.tasks.gan"),
    ("train.data.new", "from train.recipes import Recipe", "imports train.recipes"),
    ("train.data.new", GUARD + "from train.recipes import Recipe", "imports train.recipes"),
    ("train.data.new", "import train.optim", "imports train.optim"),
    ("train.optim.new", "import train.plotting", "imports train.plotting"),
    ("train.plotting.new", "ROW = 'train.data.readers.digits:Digits'", "imports train.data.readers.digits"),
    ("train.recipes.new", "import_module(f'train.tasks.{name}')", "imports train.tasks.gan"),
    ("train.lookup", "import train.data", "imports train.data"),
    ("convert.runs", "from convert.__main__ import main", "imports convert.__main__"),
    ("convert.formats.new", "import convert.runs", "imports convert.runs"),
    ("convert.certificate.new", "from convert import formats", "imports convert.formats"),
    ("convert.weights", "def f():\n    import convert.certificate", "imports convert.certificate"),
    ("convert.twins", "import convert.weights", "imports convert.weights"),
    ("convert.certificate.new", "from convert import verify", "imports convert"),
    ("flax_models.layers.ops.new", "from ..conv import Conv2d", "imports flax_models.layers.conv"),
    ("flax_models.layers.new", "from flax_models.lenet import LeNet", "imports flax_models.lenet"),
]  # fmt: skip


def imports_with(module: str, source: str) -> list[house.Import]:
    return house.imports_of({**EXISTING, module: source})


@pytest.mark.parametrize(("module", "source", "fault"), PACKAGE_FAULTS)
def test_an_import_against_the_order_of_the_packages_is_found(module, source, fault):
    assert any(fault in found for found in house.package_faults(imports_with(module, source)))


@pytest.mark.parametrize(("module", "source", "fault"), LAYER_FAULTS)
def test_an_import_against_the_order_of_the_layers_is_found(module, source, fault):
    (found,) = {text.partition(" ")[2] for text in house.layer_faults(imports_with(module, source))} & {fault}
    assert found == fault


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("train.new", "from train.engine import loop\nimport train.lazy, train.data"),
        (
            "train.engine.new",
            "from train.engine.loop import train\nfrom train.tasks import gan\nimport torch_x",
        ),
        ("train.tasks.new", "from . import gan\nfrom train.lookup import look_up\nimport flax_models.layers"),
        ("train.recipes.new", "import train.data, train.optim"),
        ("convert.weights", "from convert.layouts import Layout\nimport convert.twins, torch"),
        ("convert.layouts", "import convert.weights"),
        ("convert", "lazy_attributes(__name__, {'convert.runs': ('x',)})"),
        ("flax_models.new", "from flax_models import lenet\nfrom flax_models.layers import conv"),
        ("flax_models.layers.new", "from flax_models.layers import ops"),
        ("train.data.new", "TEXT = 'see convert.twins:TWINS for more'"),
        ("benchmarks.new", "import convert, train.run, torch, jax"),
    ],
)
def test_an_import_in_the_right_direction_is_none(module, source):
    imports = imports_with(module, source)
    assert house.package_faults(imports) == house.layer_faults(imports) == []


def test_cycles_are_found_at_any_length():
    sources = {"train.a": "def f():\n    import train.b", "train.b": "from train import c"}
    sources["train.c"] = "import train.a"
    assert house.cycles(house.imports_of(sources)) == [["train.a", "train.b", "train.c"]]
    sources["train.c"] = GUARD + "import train.a"
    assert house.cycles(house.imports_of(sources)) == []
    sources["train.c"] = "ROW = 'train.a:function'"
    assert house.cycles(house.imports_of(sources)) == []
    sources["train.c"] = DYNAMIC + "import_module('train.a')"
    assert house.cycles(house.imports_of(sources)) == [["train.a", "train.b", "train.c"]]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("isinstance(recipe, GANRecipe)", True),
        ("isinstance(task.recipe, recipes.GANRecipe | ClassifyRecipe)", True),
        ("isinstance(recipe, (Recipe, ImageRecipe))", True),
        ("hasattr(recipe, 'ema')", True),
        ("getattr(self.recipe, 'loss', None)", True),
        ("type(recipe) is GANRecipe", True),
        ("match recipe:\n    case GANRecipe():\n        pass", True),
        ("isinstance(given, Recipe)", False),
        ("isinstance(value, Optimizer)", False),
        ("getattr(model, child)", False),
        ("recipe.require_capability(Capability.SAMPLE)", False),
    ],
)
def test_a_branch_on_the_class_of_a_recipe_is_found(source, found):
    assert bool(house.branches_on_recipes("train.new", source)) == found


# What commands load.


def test_commands_answer_help_without_anything_heavy(tmp_path):
    assert {"train.run", "train.evaluate", "train.generate", "train.predict"} <= set(COMMANDS)
    asked = [(command, ["--help"]) for command in COMMANDS]
    asked += [("convert.__main__", [name, "--help"]) for name in convert.__main__.COMMANDS]
    for (command, _), call in zip(asked, call_commands(asked, tmp_path), strict=True):
        assert (call.status, call.loaded) == (0, []), command
        assert command.partition(".__main__")[0] in call.stdout and call.stderr == ""


def test_packages_load_nothing_heavy():
    packages = ", ".join(house.PACKAGES)
    script = (
        f"import sys, train.summary, {packages}; train.RECIPES, train.DATASETS;"
        f"print(sorted(set({HEAVY_MODULES!r}) & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
