"""The commands ask one place, and the store decides which way files get their names."""

from __future__ import annotations

import pytest

from shardctl.engine.entry import Recovered, recover, staged_in
from shardctl.engine.uploads.journal import UploadJournal
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from shardctl.testing.place import Place
from tests.support.buckets import (
    BY_250,
    INDEX,
    CutError,
    Fragile,
    files,
    run,
    sample,
    state,
    unlock,
)


def test_where_files_are_written() -> None:
    """They are staged beside the target, or uploaded under their own names."""
    assert staged_in(MemoryStore(), "t") == "t/.shardctl/files"
    assert staged_in(MemoryBucket(), "t") == "t"


def test_nothing_to_recover() -> None:
    """Without an interrupted replacement there is none, in either kind of store."""
    assert recover(MemoryStore(), "t") is None
    assert recover(MemoryBucket(), "t") is None


def test_a_replacement_in_a_bucket_is_completed() -> None:
    """What it was is returned, and nothing of it is left."""
    place, left = Place(), 0
    while "t/.shardctl/commit.json" not in place.objects:
        place, left = Place(), left + 1
        sample(place)
        store = Fragile(place)
        store.left = left
        with pytest.raises(CutError):
            run(store, store, "m", "t", BY_250)
        unlock(place)
    commit = UploadJournal(MemoryBucket(place), "t").commit()
    assert commit is not None
    assert recover(MemoryBucket(place), "t") == Recovered(commit.identity, (), INDEX)
    assert INDEX in files(place, "t")
    assert state(place) == []
