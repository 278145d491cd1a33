"""Which uploads of an interrupted run can be completed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from shardctl.engine.task import ShardTask
from shardctl.engine.uploads.resume import resume
from shardctl.engine.uploads.send import Sent, send
from shardctl.layout import LayoutBuilder
from shardctl.model import Extent
from shardctl.streams.progress import no_tick
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.place import Place
from tests.support.buckets import fill

NAMES = ("a", "b", "c")


@pytest.fixture
def store() -> MemoryBucket:
    """A bucket with the source `s`."""
    place = Place()
    fill(place, "s", bytes(range(200)))
    return MemoryBucket(place)


def tasks(store: MemoryBucket, *, digest: bool = False) -> tuple[ShardTask, ...]:
    """Tasks that copy the source, from one byte further on each."""
    made = []
    for number, name in enumerate(NAMES):
        builder = LayoutBuilder()
        builder.copy(Extent("s", number, 150))
        sources = {"s": store.version("s")}
        made.append(ShardTask(name, f"t/{name}", builder.build(), sources, digest=digest))
    return tuple(made)


def uploaded(store: MemoryBucket, *, digest: bool = False) -> dict[str, Sent]:
    """All of them uploaded whole."""
    sent = [send(task, store, store, no_tick) for task in tasks(store, digest=digest)]
    return {each.receipt.filename: each for each in sent}


def test_whole_uploads_are_kept(store: MemoryBucket) -> None:
    """Those of the tasks, and no others."""
    found = uploaded(store)
    assert resume(tasks(store), found, store, store).kept == found
    first, *_ = tasks(store)
    assert resume([first], found, store, store).kept == {"a": found["a"]}
    assert resume(tasks(store), {"b": found["b"]}, store, store).kept == {"b": found["b"]}


def aborted(store: MemoryBucket, sent: Sent) -> Sent:
    """One that a rule of the bucket has aborted."""
    store.abort_upload(sent.upload)
    return sent


def sent_again(store: MemoryBucket, sent: Sent) -> Sent:
    """One of which another program has sent a part."""
    store.send_part(sent.upload, 1, b"x" * sent.parts[0].nbytes)
    return sent


def shorter(_: MemoryBucket, sent: Sent) -> Sent:
    """One that was noted with another size."""
    return replace(sent, receipt=replace(sent.receipt, nbytes=sent.receipt.nbytes - 1))


def damaged(_: MemoryBucket, sent: Sent) -> Sent:
    """One in which damage was accepted, which this run does not do."""
    return replace(sent, receipt=replace(sent.receipt, damaged=("w",)))


@pytest.mark.parametrize("change", [aborted, sent_again, shorter, damaged])
def test_what_is_not_whole_is_not_kept(
    store: MemoryBucket, change: Callable[[MemoryBucket, Sent], Sent]
) -> None:
    """The others are, and nothing is outdated."""
    found = uploaded(store)
    found["b"] = change(store, found["b"])
    done = resume(tasks(store), found, store, store)
    assert sorted(done.kept) == ["a", "c"]
    assert not done.outdated


def test_damage_that_is_accepted(store: MemoryBucket) -> None:
    """A run that accepts damage goes on with what another one has accepted."""
    found = uploaded(store)
    found["b"] = damaged(store, found["b"])
    accepting = [replace(task, accept_damage=True) for task in tasks(store)]
    assert sorted(resume(accepting, found, store, store).kept) == list(NAMES)


def test_a_digest_that_was_not_taken(store: MemoryBucket) -> None:
    """What is uploaded cannot be read, so that a digest which is asked for must be there."""
    found = uploaded(store)
    assert resume(tasks(store, digest=True), found, store, store).kept == {}
    digested = uploaded(store, digest=True)
    assert resume(tasks(store), digested, store, store).kept == digested


def test_other_sources_make_everything_outdated(store: MemoryBucket) -> None:
    """A source that was written again is seen by its sample: no upload is kept then."""
    found = uploaded(store)
    fill(store.place, "s", bytes(reversed(range(200))))
    store.forget()
    done = resume(tasks(store), found, store, store)
    assert (done.kept, done.outdated) == ({}, True)
