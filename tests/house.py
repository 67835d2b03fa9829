"""The rules of the house as a checker of source code: which module may import which.

The checker reads sources and runs none. It sees imports in functions, `importlib.import_module`, `runpy`, and
strings such as "train.data.readers.digits:Digits" in tables.
"""

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PACKAGES: dict[str, set[str]] = {
    "flax_models": set(),
    "torch_models": set(),
    "train": {"flax_models"},
    "convert": {"train", "flax_models", "torch_models"},
    "benchmarks": {"convert", "train", "flax_models", "torch_models"},
}
"""What each package may import, of the packages here and of those that no package may import."""
TOP = {"tests", "examples"}
"""What nothing imports."""
FOREIGN = {"flax_models": {"torch"}, "torch_models": {"jax", "flax", "optax"}, "train": {"torch"}}
"""The libraries that a package must not import."""
OPEN = {
    "train.lazy": "the names of lazy_attributes, which are read from its calls",
    "train.data.load": "the readers of DATASETS, which are read from its strings",
    "train.data.readers.records": "the builders of DATASETS, which are read from its strings",
    "train.tasks.models": "a model of the user's own",
}
"""The modules that may import a module whose name is computed, and what that is."""

# The layers of train from the top. Folders of one line do not import each other.
BASE = {"allocator", "backend", "command_line", "lazy", "lookup"}
TRAIN = [{"commands"}, {"engine"}, {"tasks"}, {"recipes"}, {"data", "optim", "plotting"}]
# The layers of convert from the top. The members of MAP import each other.
MAP = {"weights", "rules", "layouts", "optimizers", "files"}
CONVERT = [
    {"__main__"}, {"runs", "summary", "gallery"}, {"formats"}, {"certificate"}, MAP, {"twins", "pages"}
]  # fmt: skip
FLAX = [{"models"}, {"layers"}, {"ops"}]

TABLE_ENTRY = re.compile(r"[a-z_]\w*(\.\w+)+:[A-Za-z_]\w*")


class Import(NamedTuple):
    """One import.

    target: the module that is imported, by its dotted name; "?" where the name is computed. kind: "import",
    "type" (under TYPE_CHECKING), "dynamic" (import_module, runpy, lazy_attributes) or "string" (of a table).
    """

    importer: str
    target: str
    line: int
    kind: str


def sources_of(root: Path, packages: Iterable[str]) -> dict[str, str]:
    """{dotted name: source} of every module of the packages. A package is named without `__init__`."""
    sources = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return sources


def imports_of(sources: Mapping[str, str]) -> list[Import]:
    """Every import in the sources. A target is a module of `sources`, or the name of a foreign module."""
    packages = {name.rpartition(".")[0] for name in sources}
    return [
        Import(name, target, line, kind)
        for name, source in sources.items()
        for target, line, kind in _Finder(name, name in packages, sources).find(ast.parse(source))
    ]


class _Finder:
    """Finds the imports of one module."""

    def __init__(self, module: str, is_package: bool, known: Collection[str]):
        self.module, self.known = module, known
        self.package = module if is_package else module.rpartition(".")[0]

    def find(self, node: ast.AST, typing_only: bool = False) -> Iterator[tuple[str, int, str]]:
        """(target, line, kind) of the imports below a node."""
        kind = "type" if typing_only else "import"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield self._module(alias.name), node.lineno, kind
        elif isinstance(node, ast.ImportFrom):
            base = self._absolute(node)
            for alias in node.names:
                yield self._module(f"{base}.{alias.name}"), node.lineno, kind
        elif isinstance(node, ast.Call):
            yield from ((target, node.lineno, "dynamic") for target in self._called(node))
        elif isinstance(node, ast.Constant) and _is_table_entry(node.value):
            yield self._module(str(node.value).partition(":")[0]), node.lineno, "string"
        for field, value in ast.iter_fields(node):
            guarded = typing_only or (field == "body" and _is_type_checking(node))
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self.find(child, guarded)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.package.split(".")
        return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])

    def _module(self, name: str) -> str:
        """The module of ours that a dotted name is or lies in; the name itself where there is none."""
        parts = name.split(".")
        prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        return next((prefix for prefix in prefixes if prefix in self.known), name)

    def _called(self, node: ast.Call) -> Iterator[str]:
        """The modules that a call imports."""
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if function == "lazy_attributes" and len(node.args) == 2 and isinstance(node.args[1], ast.Dict):
            for key in node.args[1].keys:
                yield from self._named(key)
        elif function in ("import_module", "run_module", "run_path", "__import__"):
            yield from self._named(node.args[0] if node.args else None)

    def _named(self, node: ast.expr | None) -> Iterator[str]:
        """The modules that an expression names: a literal, or all that start as an f-string does; or "?"."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield self._module(node.value)
            return
        prefix = self._prefix(node) if isinstance(node, ast.JoinedStr) else ""
        found = [name for name in self.known if prefix and name.startswith(prefix) and name != self.module]
        yield from found or ["?"]

    def _prefix(self, node: ast.JoinedStr) -> str:
        """The part of an f-string before its first unknown value; `__name__` is known."""
        prefix = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                prefix += str(part.value)
            elif isinstance(part, ast.FormattedValue) and getattr(part.value, "id", "") == "__name__":
                prefix += self.module
            else:
                break
        return prefix


def _is_table_entry(value: object) -> bool:
    """Whether a constant is "module:name" of a module of ours."""
    return isinstance(value, str) and bool(TABLE_ENTRY.fullmatch(value)) and value.split(".")[0] in PACKAGES


def _is_type_checking(node: ast.AST) -> bool:
    if not isinstance(node, ast.If):
        return False
    return "TYPE_CHECKING" in (getattr(node.test, "id", ""), getattr(node.test, "attr", ""))


def package_faults(imports: Iterable[Import]) -> list[str]:
    """The imports that leave the order of the packages, and those that nobody can check."""
    faults = []
    for one in imports:
        package, target = one.importer.split(".")[0], one.target.split(".")[0]
        allowed = {package, *PACKAGES[package]}
        if one.target == "?" and one.importer not in OPEN:
            faults.append(f"{one.importer}:{one.line} imports a module whose name is computed")
        elif target in {*PACKAGES, *TOP, *FOREIGN.get(package, ())} - allowed:
            faults.append(_describe(one))
    return faults


def layer_faults(imports: Iterable[Import]) -> list[str]:
    """The imports that leave the order of the layers inside a package, or that import a command."""
    faults = []
    for one in imports:
        package, target = one.importer.split(".")[0], one.target.split(".")[0]
        if target == "train" and _train_layer(one.target) == "commands" and package in ("train", "convert"):
            faults.append(_describe(one))
        elif package == target == "train":
            faults += [] if _goes_down(TRAIN, *map(_train_layer, one[:2])) else [_describe(one)]
        elif package == target == "convert":
            faults += [] if _goes_down(CONVERT, *map(_convert_layer, one[:2])) else [_describe(one)]
        elif package == target == "flax_models":
            faults += [] if _goes_down(FLAX, *map(_flax_layer, one[:2])) else [_describe(one)]
    return faults


def _goes_down(layers: list[set[str]], above: str, below: str) -> bool:
    """Whether a module of the layer `above` may import one of the layer `below`."""
    if below == "base" or above == "facade":
        return True
    if above == "base" or below == "facade":
        return False
    rank = {name: number for number, names in enumerate(layers) for name in names}
    if above == below or {above, below} <= MAP:
        return True
    return rank[above] < rank[below]


def _train_layer(module: str) -> str:
    """The folder of a module of train; "commands" for what lies loose, the package itself included."""
    if module == "train":
        return "commands"
    name = module.split(".")[1]
    if name in BASE:
        return "base"
    return name if any(name in layer for layer in TRAIN) else "commands"


def _convert_layer(module: str) -> str:
    """The folder or the file of a module of convert; "facade" for the package itself."""
    return "facade" if module == "convert" else module.split(".")[1]


def _flax_layer(module: str) -> str:
    """ "ops", "layers" or "models"; "facade" for the package itself."""
    if module == "flax_models":
        return "facade"
    if module.startswith("flax_models.layers.ops"):
        return "ops"
    return "layers" if module.startswith("flax_models.layers") else "models"


def cycles(imports: Iterable[Import]) -> list[list[str]]:
    """The modules that import each other, directly or through others.

    Imports under TYPE_CHECKING do not count, because they do not run. Strings of tables do not count, because
    a reader imports the table's types and is imported when it is used.
    """
    graph: dict[str, set[str]] = {}
    for one in imports:
        if one.kind not in ("type", "string") and one.target != one.importer:
            graph.setdefault(one.importer, set()).add(one.target)
    reached = {name: _reachable(graph, name) for name in graph}
    found = {frozenset(n for n in reached if n in reached[name] and name in reached[n]) for name in graph}
    return sorted(sorted(group) for group in found if group)


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached, pending = set[str](), [start]
    while pending:
        for target in graph.get(pending.pop(), ()):
            if target not in reached:
                reached.add(target)
                pending.append(target)
    return reached


def branches_on_recipes(module: str, source: str) -> list[str]:
    """The places that ask for the class of a recipe, or whether it has a field."""
    found = [node for node in ast.walk(ast.parse(source)) if _asks_for_class(node)]
    return [f"{module}:{getattr(node, 'lineno', 0)} asks for the class of a recipe" for node in found]


def _asks_for_class(node: ast.AST) -> bool:
    if isinstance(node, ast.MatchClass):
        return bool(_recipe_classes(node.cls))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
        return False
    if node.func.id in ("isinstance", "issubclass") and len(node.args) == 2:
        return bool(_recipe_classes(node.args[1]))
    return node.func.id in ("hasattr", "getattr", "type") and _is_recipe(node.args[0])


def _recipe_classes(node: ast.AST) -> list[str]:
    """The names of recipe classes in an expression, without the base class of all."""
    names = [getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node)]
    return [name for name in names if name.endswith("Recipe") and name != "Recipe"]


def _is_recipe(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return "recipe" in name.lower()


def _describe(one: Import) -> str:
    return f"{one.importer}:{one.line} imports {one.target}"
