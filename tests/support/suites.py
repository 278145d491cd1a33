"""Runs one test of a suite for stores or formats, and says whether it passes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import pytest

from shardctl.stores.base import Store
from shardctl.testing.suites.fixtures import DATA, StoreFixtures, put

ROOT = "models/mine"


def passes_for(suite: type[StoreFixtures], test: str, make: Callable[[], Store]) -> bool:
    """Whether a test of a suite passes for a store, with all of its parameters."""
    return passes(suite, test, lambda: _fixtures(make()))


def passes(suite: type, test: str, fixtures: Callable[[], Mapping[str, Any]]) -> bool:
    """Whether a test of a suite passes with these fixtures, which are made for each parameter."""
    function = getattr(suite, test)
    wanted = inspect.signature(function).parameters
    asks = {name for mark in _marks(function, "usefixtures") for name in mark.args}
    for parameters in _parameters(function):
        # Those that are not asked for are not made: a file would be in the way of some tests.
        asked = {
            name: value() if name == "path" else value
            for name, value in fixtures().items()
            if name in wanted or name in asks
        }
        given = {name: value for name, value in asked.items() if name in wanted}
        try:
            function(suite(), **given, **parameters)
        except (Exception, pytest.fail.Exception):
            return False
    return True


def _fixtures(store: Store) -> Mapping[str, Any]:
    store.make_directory(ROOT)

    def fill(path: str, data: bytes) -> str:
        store.remove(path)
        store.make_directory(store.split(path)[0])
        return put(store, path, data)

    return {
        "store": store,
        "uploads": store,
        "root": ROOT,
        "fill": fill,
        "path": lambda: fill(store.join(ROOT, "data"), DATA),
    }


def _marks(function: Any, name: str) -> list[Any]:
    return [mark for mark in getattr(function, "pytestmark", ()) if mark.name == name]


def _parameters(function: Any) -> Iterator[dict[str, object]]:
    """Yield each combination of the parameters of a test."""
    ways: list[list[dict[str, object]]] = []
    for mark in _marks(function, "parametrize"):
        names, values = mark.args[0], mark.args[1]
        if isinstance(names, str):
            ways.append([{names: value} for value in values])
        else:
            ways.append([dict(zip(names, value, strict=True)) for value in values])
    for chosen in product(*ways):
        yield {name: value for each in chosen for name, value in each.items()}
