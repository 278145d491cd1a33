"""The page of promises: each names the tests that show it, and these exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.support.program import ROOT

_PAGE = ROOT / "docs" / "reliability.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _promises() -> Iterator[tuple[str, str]]:
    """The rows of the page's tables: a promise, and what shows it."""
    for line in _PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and cells[0] not in ("promise", "---"):
            promise, shown = cells
            yield promise, shown


@cache
def _tests(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_there_are_promises() -> None:
    """The page is read as it is written."""
    assert len(list(_promises())) > 30


@pytest.mark.parametrize(("promise", "shown"), _promises(), ids=lambda text: text[:40])
def test_a_promise_names_its_tests(promise: str, shown: str) -> None:
    """Every promise names a test at least, and every test that it names exists."""
    named = _TEST.findall(shown)
    assert named, promise
    for path, name in named:
        assert name in _tests(path), f"{path} has no {name}"


def test_every_test_that_is_named_anywhere_is_named_whole() -> None:
    """A file of tests is never named without the test that is meant."""
    text = _PAGE.read_text(encoding="utf-8")
    assert re.findall(r"`[^`]*test_\w+[^`]*`", text) == [
        f"`{path}::{name}`" for path, name in _TEST.findall(text)
    ]
