"""The recipes of CONTRIBUTING.md name the files that are there, and those that the toys needed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.program import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
#: The text of each recipe by its heading.
RECIPES = dict(re.findall(r"^## (Add [^\n]+)\n(.*?)(?=^## )", TEXT, re.DOTALL | re.MULTILINE))
#: By recipe: the modules of the toy below tests/, its test, and where it is registered.
TOYS = {
    "Add a format": (
        ("toy/format.py", "toy/reader.py", "toy/writer.py"),
        "unit/formats/test_toy_format.py",
        "shardctl/formats/registry.py",
    ),
    "Add a store": (
        ("toy/store.py",),
        "unit/stores/test_toy_store.py",
        "shardctl/stores/registry.py",
    ),
}
#: What a format or a store from outside may import: what is read and written, and the protocols.
SEAMS = {
    "shardctl.errors",
    "shardctl.findings",
    "shardctl.formats.base",
    "shardctl.layout",
    "shardctl.model",
    "shardctl.stores.base",
}


def named(recipe: str) -> list[str]:
    """Return the paths that a recipe names, in its order; `<name>` is that of the new thing."""
    return re.findall(r"`([\w<>]+(?:/[\w<>.]+)+/?)`", RECIPES[recipe])


def imported(path: str) -> Iterator[tuple[str, str]]:
    """Yield the modules of shardctl that a file below tests/ imports, each with the name taken."""
    for node in ast.walk(ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("shardctl"):
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("shardctl") for alias in node.names), path


def test_the_recipes_are_those_for_what_can_be_added() -> None:
    """There is a recipe for a format, a store, an executor, a check and an option."""
    assert list(RECIPES) == [*TOYS, "Add an executor", "Add a check to `verify`", "Add an option"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_file_that_a_recipe_names_exists(recipe: str) -> None:
    """Each path of a recipe exists, with any name in place of `<name>`."""
    paths = named(recipe)
    assert paths
    missing = [path for path in paths if not any(ROOT.glob(path.replace("<name>", "*")))]
    assert missing == []


@pytest.mark.parametrize("recipe", TOYS)
def test_a_recipe_names_what_the_toy_needed(recipe: str) -> None:
    """The recipe names the toy's modules and its test, and the toy has all that the recipe needs.

    Only the comparison with another loader is left out: the toy has no other one.
    """
    modules, test, registry = TOYS[recipe]
    paths = named(recipe)
    assert {*(f"tests/{path}" for path in (*modules, test)), registry} <= set(paths)
    to_write = {
        path.rpartition("/")[2].replace("<name>", "store")
        for path in paths
        if "<name>" in path and path.endswith(".py")
    }
    assert to_write - {"upstream.py"} == {path.rpartition("/")[2] for path in modules}


@pytest.mark.parametrize("recipe", TOYS)
def test_a_toy_touches_nothing_but_the_registry(recipe: str) -> None:
    """A toy imports protocols and values, and its test changes the package by `register` alone."""
    modules, test, registry = TOYS[recipe]
    assert {module for path in modules for module, _ in imported(path)} <= SEAMS
    dotted = registry.removesuffix(".py").replace("/", ".")
    assert (dotted, "register") in set(imported(test))
    package = dotted.rpartition(".")[0]
    inner = {module for module, _ in imported(test) if module.startswith(f"{package}.")}
    assert inner - SEAMS == {dotted}
    source = (ROOT / "tests" / test).read_text(encoding="utf-8")
    assert not re.search(r"monkeypatch|mock|setattr|_loaders|_formats|BUILT_IN", source)
