"""The source files of a task: few open at once, each compared with the plan."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from shardctl.engine.sources import OPEN_SOURCES, Sources
from shardctl.errors import SourceChangedError
from shardctl.testing.memory import MemoryReader, MemoryStore
from tests.small import put


def stored(count: int) -> tuple[MemoryStore, list[str]]:
    """A store with so many files, and their names."""
    store = MemoryStore()
    names = [f"s{number}" for number in range(count)]
    for name in names:
        put(store, name, name.encode())
    return store, names


def sources_of(store: MemoryStore, names: list[str]) -> Sources:
    """Sources as they are now."""
    return Sources(store, {name: store.version(name) for name in names})


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were closed, in order."""
    names: list[str] = []
    monkeypatch.setattr(MemoryReader, "close", lambda self: names.append(self.path))
    return names


def test_few_sources_are_open_at_once(closed: list[str]) -> None:
    """With more sources than may be open the one used longest ago is closed, and all are closed at
    the end.
    """
    store, names = stored(OPEN_SOURCES + 5)
    with sources_of(store, names) as sources:
        for name in [*names[:OPEN_SOURCES], names[0], names[OPEN_SOURCES]]:
            with sources.reader(name) as reader:
                assert reader.read(0, 2) == name.encode()[:2]
        assert closed == [names[1]]
    assert {*closed} == {*names[: OPEN_SOURCES + 1]}


def test_a_source_in_use_stays_open(closed: list[str]) -> None:
    """A file that another thread reads is never closed to make room."""
    store, names = stored(OPEN_SOURCES + 3)
    with sources_of(store, names) as sources, ExitStack() as users:
        for name in names:
            users.enter_context(sources.reader(name))
        assert closed == []


def test_a_source_is_compared_before_it_is_closed_early() -> None:
    """A source that changed is noticed even where it was closed to make room."""
    store, names = stored(OPEN_SOURCES + 1)
    with sources_of(store, names) as sources:
        for name in names[:-1]:
            with sources.reader(name):
                pass
        store._files[names[0]].put(0, b"2")
        with pytest.raises(SourceChangedError, match="'s0'"), sources.reader(names[-1]):
            pass
