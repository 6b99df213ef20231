"""The architecture as tables: who may import whom, which package is known where, what a quick command must not load."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "kaggle_kit"

LAYERS = (
    ("errors", "files", "progress", "version", "plugins", "registry", "notebook", "cells"),
    ("settings", "competition", "config", "metrics", "contrast"),
    ("embeddings", "translators", "kernels", "kaggle_service", "archive", "submission"),
    ("training",),
    ("ensemble", "analysis"),
    ("workflow",),
    ("rehearsal",),
    ("render", "api", "cli", "__main__", "__init__"),
)
"""Lowest first; a module imports its own part and lower layers only, at run time as well as inside functions."""

ORDER_WITHIN = (
    ("errors", "files"), ("errors", "registry"), ("errors", "plugins"), ("files", "plugins"), ("plugins", "registry"),
    ("settings", "competition"), ("settings", "config"), ("competition", "config"),
    ("submission", "archive"), ("render", "cli"), ("render", "api"), ("api", "__init__"), ("cli", "__main__"),
)  # fmt: skip
"""Inside a layer: the second may import the first."""

MAY_IMPORT = {
    "kaggle": {"kaggle_service"},
    "kagglesdk": {"kaggle_service"},
    "torch": {"metrics", "contrast", "translators", "kernels", "training", "ensemble", "analysis", "workflow"},
    "triton": {"kernels"},
    "pandas": {"archive", "submission", "analysis"},
    "rich": {"render"},
    "click": {"cli"},
    "requests": {"kaggle_service"},
    "matplotlib": {"analysis"},
    "optuna": {"workflow"},
}
"""Which parts know a package. The workflow hands tensors on, always inside a function."""

LAZY_ONLY = {
    ("pandas", "archive"),
    ("pandas", "submission"),
    ("pandas", "analysis"),
    ("kaggle", "kaggle_service"),
    ("torch", "workflow"),
    ("matplotlib", "analysis"),
    ("optuna", "workflow"),
}
"""Where a package may be imported inside functions, but not when the module is."""

LIGHT = (
    "cli",
    "config",
    "archive",
    "submission",
    "kaggle_service",
    "embeddings",
    "render",
    "settings",
    "competition",
    "analysis",
)
"""Parts whose import loads none of ``HEAVY``."""

HEAVY = ("torch", "pandas", "kaggle", "matplotlib", "sklearn", "optuna")


def part_of(module: Path) -> str:
    """``training`` for ``training/loop.py``, ``errors`` for ``errors.py``."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def imports(module: Path) -> Iterator[tuple[str, bool]]:
    """What a module imports, as dotted names, and whether it does so when it is imported; typing-only imports are left out."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    top = {id(node) for node in _run_at_import(tree)}
    for node in _run_at_all(tree):
        for name in _names(node, module):
            yield name, id(node) in top


def dotted(module: Path) -> str:
    """``kaggle_kit.training.loop`` for ``training/loop.py``, ``kaggle_kit.training`` for ``training/__init__.py``."""
    parts = module.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(module: Path, known: Set[str]) -> Iterator[str]:
    """Those of the package's modules that a module imports anywhere; ``from package import module`` means the module."""
    for node in _run_at_all(ast.parse(module.read_text(encoding="utf-8"))):
        for name in _names(node, module):
            if isinstance(node, ast.ImportFrom):
                whole = [name] if name in known else [name.rpartition(".")[0]]  # else a name of the public API
                inner = {f"{name}.{alias.name}" for alias in node.names} & known
                yield from inner or whole
            else:
                yield name


def way_back(module: str, below: dict[str, set[str]]) -> list[str] | None:
    """The shortest way from a module over what it imports to itself; None when there is none."""
    ways, seen = [[module]], set[str]()
    for way in ways:
        for other in sorted(below[way[-1]]):
            if other == module:
                return [*way, module]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return None


def _names(node: ast.AST, module: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    if node.level:
        package = ["kaggle_kit", *module.relative_to(PACKAGE).parts[: -node.level]]
        return [".".join([*package, node.module] if node.module else package)]
    if node.module == "kaggle_kit":
        return [f"kaggle_kit.{alias.name}" for alias in node.names]
    return [node.module or ""]


def _is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _run_at_all(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not _is_typing_only(child):
            yield child
            yield from _run_at_all(child)


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not _is_typing_only(child) and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _run_at_import(child)


def layer_of(part: str) -> int:
    """The number of a part's layer."""
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def test_every_part_has_a_layer():
    known = {part for parts in LAYERS for part in parts}
    assert {part_of(module) for module in modules()} - known == {"competitions"} & {
        part_of(module) for module in modules()
    }


def shown_in_design() -> list[str]:
    """The parts of each row of the table of layers in docs/design.md."""
    page = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    return re.findall(r"^\| \d+ \| `(.+?)` \|", page, re.MULTILINE)


def shown_in_map() -> list[str]:
    """The parts of each step of the package's row in the README's map."""
    page = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `kaggle_kit/` \|.+ only: (.+?) \(", page, re.MULTILINE)
    return [parts.strip("`") for parts in row.split(" → ")]


@pytest.mark.parametrize("shown", [shown_in_design, shown_in_map])
def test_the_documents_show_these_layers(shown):
    public = [{part for part in parts if not part.startswith("__")} for parts in LAYERS]
    assert [{*parts.split()} for parts in shown()] == public


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_its_own_part_and_lower_layers(module):
    own = part_of(module)
    wrong = []
    for name, _ in imports(module):
        package, _, rest = name.partition(".")
        if package != "kaggle_kit" or not rest:
            continue
        other = rest.partition(".")[0]
        if not (PACKAGE / other).exists() and not (PACKAGE / f"{other}.py").exists():
            continue  # a name of the public API
        below = layer_of(other) < layer_of(own)
        if not (below or other == own or (other, own) in ORDER_WITHIN):
            wrong.append(name)
    assert not wrong, f"{module.name} (layer {layer_of(own)}) imports upwards or sideways: {wrong}"


def test_no_module_imports_itself_by_way_of_others():
    """At run time or inside functions: two modules that need each other hide a third, which both need."""
    known = {dotted(module) for module in modules()}
    below = {dotted(module): known.intersection(imported_modules(module, known)) for module in modules()}
    circles = [circle for module in below if (circle := way_back(module, below)) and module == min(circle)]
    assert not circles, "\n".join(" -> ".join(circle) for circle in circles)


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_knows_only_the_packages_of_its_part(module):
    own = part_of(module)
    wrong = []
    for name, at_import in imports(module):
        package = name.partition(".")[0]
        if package in MAY_IMPORT and own not in MAY_IMPORT[package]:
            wrong.append(f"{name} is not for {own}")
        if at_import and (package, own) in LAZY_ONLY:
            wrong.append(f"{name} must be imported inside a function")
    assert not wrong, wrong


def test_only_known_parts_of_the_package_print():
    """Ruff forbids print outside cli and render; here also what ruff cannot see: stdout and stderr themselves."""
    offenders = [
        str(module.relative_to(PACKAGE))
        for module in modules()
        if part_of(module) not in ("cli", "render") and {"sys.stdout", "sys.stderr"} & set(_attributes(module))
    ]
    # redirected, not written to: what the official client prints at import must not reach stdout
    assert [name for name in offenders if not name.startswith("kaggle_service/")] == []


def _attributes(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def loaded_by(statement: str) -> set[str]:
    """The top-level packages in memory after ``statement``, in an interpreter of its own."""
    code = (
        f"{statement}\nimport sys, json\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("part", LIGHT)
def test_import_of_a_light_part_loads_nothing_heavy(part):
    assert loaded_by(f"import kaggle_kit.{part}") & set(HEAVY) == set()


def test_import_of_the_package_loads_next_to_nothing():
    assert loaded_by("import kaggle_kit; dir(kaggle_kit)") & {*HEAVY, "numpy", "rich", "click", "orjson"} == set()


def test_help_loads_neither_numpy_nor_rich():
    loaded = loaded_by("from kaggle_kit.cli import cli\ncli.main(['--help'], standalone_mode=False)")
    assert loaded & {*HEAVY, "numpy", "rich"} == set()


@pytest.mark.parametrize("arguments", [["leaderboard"], ["runs", "list"], ["submissions", "list"]])
def test_looking_at_the_archive_loads_nothing_heavy(arguments):
    loaded = loaded_by(f"from kaggle_kit.cli import cli\ncli.main({arguments!r}, standalone_mode=False)")
    assert loaded & set(HEAVY) == set()
