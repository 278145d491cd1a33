"""Which finished files of an interrupted run are kept by the next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.journal import Journal, RunIdentity
from shardctl.engine.journal.resume import resume
from shardctl.engine.task import ShardTask, write
from shardctl.errors import SourceChangedError
from shardctl.layout import LayoutBuilder
from shardctl.model import Extent
from shardctl.streams.progress import no_tick
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

#: Bytes of the source, half of which go into each of two files: more than a sample covers.
SIZE = 8 * 1024 * 1024


def interrupted(store: MemoryStore) -> tuple[ShardTask, ...]:
    """Write two files and note them, as a run does that is killed then; return their tasks."""
    put(store, "s", bytes(SIZE))
    sources = {"s": store.version("s")}
    tasks = []
    for number, name in enumerate("ab"):
        builder = LayoutBuilder()
        builder.copy(Extent("s", number * SIZE // 2, SIZE // 2))
        staged = f"t/.shardctl/files/{name}"
        tasks.append(ShardTask(name, staged, builder.build(), sources))
    store.make_directory("t")
    with Staging.make(store, "t") as staging:
        journal = Journal(staging)
        journal.begin(RunIdentity("id", {}, sources), ["a", "b"])
        for task in tasks:
            journal.add(write(task, store, store, no_tick))
    return tuple(tasks)


def kept(store: MemoryStore, tasks: tuple[ShardTask, ...], *, read_back: bool = False) -> set[str]:
    """The names that the next run keeps."""
    asked = [replace(task, read_back=read_back) for task in tasks]
    with Staging.make(store, "t") as staging:
        return set(resume(asked, store, store, Journal(staging)).kept)


def overwrite(store: MemoryStore, path: str, offset: int, data: bytes) -> None:
    """Change bytes in a way that leaves the file's version as it is, as nothing should."""
    store._files[path].data[offset : offset + len(data)] = data


@pytest.mark.parametrize("read_back", [False, True])
def test_finished_files_are_kept(read_back: bool) -> None:
    """What is whole, and whose sources are what they were, is not written again."""
    store = MemoryStore()
    assert kept(store, interrupted(store), read_back=read_back) == {"a", "b"}


@pytest.mark.parametrize("at", [0, SIZE // 2 - 1, SIZE // 2, SIZE - 1])
def test_a_rewritten_source_is_noticed_in_a_sample(at: int) -> None:
    """Where a sampled byte of one file changed, though the version did not, none is kept."""
    store = MemoryStore()
    tasks = interrupted(store)
    overwrite(store, "s", at, b"!")
    assert kept(store, tasks) == set()
    assert store.kind("t/.shardctl/files/a") is None


def test_a_change_between_the_samples_is_seen_by_a_comparison_only() -> None:
    """A byte in no sampled block is not noticed, and it is where all bytes are compared."""
    store = MemoryStore()
    tasks = interrupted(store)
    overwrite(store, "s", 20_000, b"!")
    assert kept(store, tasks) == {"a", "b"}
    assert kept(store, tasks, read_back=True) == {"b"}


def test_a_staged_file_that_a_disk_changed() -> None:
    """Read back, a file that no longer holds what was written is written again, and it alone."""
    store = MemoryStore()
    tasks = interrupted(store)
    overwrite(store, "t/.shardctl/files/b", 100, b"!")
    assert kept(store, tasks, read_back=True) == {"a"}


def test_a_source_of_another_version_ends_the_run() -> None:
    """A source that is not the planned one is an error before any file is kept."""
    store = MemoryStore()
    tasks = interrupted(store)
    put(store, "s", bytes(SIZE))
    with pytest.raises(SourceChangedError):
        kept(store, tasks)
