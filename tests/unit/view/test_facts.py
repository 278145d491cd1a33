"""What a plan means for the target is said in a few lines, and nothing is counted wrong."""

from __future__ import annotations

import pytest

from shardctl.commands.preparing.work import Work, prepare_all
from shardctl.planning.request import Limits, Selection, WriteOptions
from shardctl.testing.memory import MemoryStore
from shardctl.view.facts import facts
from tests.support.memory_checkpoints import put, sample

ONE = WriteOptions(limits=Limits())


class Roomy(MemoryStore):
    """A store with 5 GB free."""

    def free_bytes(self, directory: str) -> int:  # noqa: ARG002 - the same everywhere
        """Return the bytes that are free."""
        return 5 * 10**9


def lines(store: MemoryStore, target: str = "t", options: WriteOptions = ONE) -> dict[str, str]:
    """The facts by their names."""
    work: Work = prepare_all(store, "m", store, target, options, finish=True)
    return dict(line.split(": ", 1) for line in facts(work))


@pytest.fixture
def store() -> MemoryStore:
    """A model with a config."""
    store = MemoryStore()
    sample(store)
    return store


def test_a_plain_run(store: MemoryStore) -> None:
    """Target, room and companions; nothing is renamed."""
    found = lines(store)
    assert list(found) == ["target", "room", "companions"]
    assert found["target"] == "t"
    assert found["room"].endswith("needed; free space unknown")
    assert found["companions"] == "1 file: config.json"


def test_room_that_is_known() -> None:
    """What is free is said; no block is shared in such a store."""
    store = Roomy()
    sample(store)
    assert lines(store)["room"].endswith(" needed; 5.0 GB free")


def test_companions_are_listed_and_counted(store: MemoryStore) -> None:
    """Ten names are shown; those that are there already are counted, and none is said so."""
    for number in range(11):
        put(store, f"m/x{number:02}.json", b"{}")
    put(store, "t/x00.json", b"{}")
    found = lines(store)["companions"]
    assert found.startswith("12 files (1 there already): config.json, x00.json, ")
    assert found.endswith("x08.json, …")
    none = WriteOptions(limits=Limits(), companions="none")
    assert lines(store, options=none)["companions"] == "none"


def test_new_names_are_counted(store: MemoryStore) -> None:
    """Only tensors whose name was none of the source's are."""
    renaming = WriteOptions(
        limits=Limits(), selection=Selection(rename=(("layer.0", "first\x1b"),))
    )
    assert lines(store, options=renaming)["renamed"] == "1 tensor, the first to 'first\\x1b'"


def test_a_target_is_safe_to_print(store: MemoryStore) -> None:
    """Its name is escaped."""
    assert lines(store, "t\x1b")["target"] == "t\\x1b"
