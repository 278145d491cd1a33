"""Every reader says what an interrupted run left in the place of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardctl.commands.diff import Side, diff
from shardctl.commands.index import make_index
from shardctl.commands.inspect import inspect
from shardctl.engine.commit.staging import Staging
from shardctl.engine.found import find_checkpoint, unfinished_run
from shardctl.engine.journal.journal import Journal, RunIdentity
from shardctl.errors import MissingError, UsageError
from shardctl.stores.base import EntryKind, Store
from shardctl.testing.memory import MemoryStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.memory_checkpoints import put, weights

NAMES = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.fixture
def store() -> MemoryStore:
    """A directory `t` with a run that has finished none of its two shards, and a model `m`."""
    store = MemoryStore()
    with Staging.make(store, "t") as staging:
        Journal(staging).begin(RunIdentity("id", {}, {}), NAMES)
    put(store, "m/model.safetensors", weights({"w": b"data"}))
    return store


def against(store: Store, source: str) -> object:
    """Compare another checkpoint with it."""
    return verify(store, "m", Thoroughness(against=source))


READERS: list[Callable[[Store, str], object]] = [
    find_checkpoint,
    make_index,
    against,
    lambda store, source: inspect(store, source, key=None),
    lambda store, source: verify(store, source, Thoroughness()),
    lambda store, source: diff(Side(store, "m"), Side(store, source)),
]


@pytest.mark.parametrize("read", READERS)
def test_an_unfinished_run_is_no_checkpoint_yet(
    store: MemoryStore, read: Callable[[Store, str], object]
) -> None:
    """It is said how far it came, and what finishes it; its directory is not advised."""
    with pytest.raises(MissingError, match="unfinished run: 0 of 2 shards done") as caught:
        read(store, "t")
    assert "run the interrupted command again" in caught.value.hint
    assert ".shardctl" not in caught.value.hint


def test_a_checkpoint_beside_an_unfinished_run_is_found(store: MemoryStore) -> None:
    """What was there before is read as it is, and the run is known where a directory is named."""
    put(store, "t/model.safetensors", weights({"w": b"data"}))
    assert find_checkpoint(store, "t").files == ("t/model.safetensors",)
    left = unfinished_run(store, "t")
    assert left is not None
    assert (left.done, left.total) == (0, 2)
    assert unfinished_run(store, "t/model.safetensors") is None
    assert unfinished_run(store, "m") is None


def test_where_nothing_can_be_written_no_run_is_looked_for() -> None:
    """A server is asked for the checkpoint alone: each look would be a request."""
    asked: list[str] = []

    class Noting(MemoryStore):
        """It refuses to be written, and notes what it is asked for."""

        def refusal(self, path: str) -> UsageError:
            """Say that nothing can be written."""
            return UsageError(path, hint="read it")

        def kind(self, path: str) -> EntryKind | None:
            """Note the path."""
            asked.append(path)
            return super().kind(path)

    store = Noting()
    put(store, "m/model.safetensors", weights({"w": b"data"}))
    asked.clear()
    assert find_checkpoint(store, "m/model.safetensors").files == ("m/model.safetensors",)
    assert asked
    assert not any(".shardctl" in path for path in asked)


def test_what_does_not_exist_is_said_so(store: MemoryStore) -> None:
    """A path beside an unfinished run is missing, whatever the run would write."""
    with pytest.raises(MissingError, match="does not exist"):
        find_checkpoint(store, f"t/{NAMES[0]}")
