"""Parts of a plan give the bytes of one run: in any order and number, lost and repeated."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardctl.commands.documents import dump
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.work import prepare_all
from shardctl.commands.saved.plan_document import plan_document
from shardctl.commands.saved.planned import prepare_planned
from shardctl.commands.saved.sharing import Share, commit, write_share
from shardctl.commands.write import write
from shardctl.engine.journal.records import NoRecords
from shardctl.engine.run import RunOptions
from shardctl.engine.shared.share import PartDone
from shardctl.planning.request import Limits, WriteOptions
from shardctl.planning.saved.plan_file import parse_plan_file
from shardctl.streams.progress import Silent
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights
from tests.support.pipelines import tree

ONE = RunOptions(jobs=1)


@st.composite
def options(draw: st.DrawFn) -> WriteOptions:
    """Options by which the shards and their bytes differ."""
    limits = draw(
        st.one_of(
            st.integers(1, 6).map(lambda count: Limits(num_shards=count)),
            st.integers(1, 400).map(lambda size: Limits(max_shard_bytes=size)),
            st.just(Limits()),
        )
    )
    return WriteOptions(
        limits=limits,
        format=draw(st.sampled_from([None, "safetensors", "bin"])),
        order=draw(st.sampled_from(["source", "natural"])),
        layout=draw(st.sampled_from(["auto", "reflink"])),
        checksums=draw(st.booleans()),
    )


def lose_files(store: MemoryStore, chance: random.Random) -> None:
    """Lose some of the files that wait for their names."""
    for entry in store.list("t/.shardctl/files"):
        if chance.random() < 0.3:
            store.remove(f"t/.shardctl/files/{entry.name}")


def lose_uploads(store: MemoryBucket, chance: random.Random) -> None:
    """Lose some of the uploads, and some of their receipts."""
    for upload in store.uploads("t"):
        if chance.random() < 0.3:
            store.abort_upload(upload)
    receipts = "t/.shardctl/receipts"
    for entry in store.list(receipts) if store.kind(receipts) == "directory" else ():
        if chance.random() < 0.3:
            store.remove(f"{receipts}/{entry.name}")


@pytest.mark.parametrize("made", [MemoryStore, MemoryBucket])
@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 300), min_size=6, max_size=12),
    asked=options(),
    count=st.integers(1, 5),
    order=st.lists(st.integers(1, 5), max_size=6),
    chance=st.randoms(use_true_random=False),
)
def test_parts_are_one_run(
    made: type[MemoryStore | MemoryBucket],
    sizes: list[int],
    asked: WriteOptions,
    count: int,
    order: list[int],
    chance: random.Random,
) -> None:
    """Whatever is asked for, and whatever gets lost between parts, a plan that is read back and
    carried out by parts gives the files of one run, and leaves nothing else.
    """
    store = made()
    tensors = {f"l.{n}.w": bytes([n]) * size for n, size in enumerate(sizes)}
    put(store, "m/model.safetensors", weights(tensors))
    put(store, "m/config.json", b"{}")
    expected = prepare_all(store, "m", store, "expected", asked, finish=True)
    write(store, store, expected.parts[0].prepared, ONE, Silent())
    planned = prepare_all(store, "m", store, "t", asked, finish=False)
    document = "".join(dump(plan_document("split", planned, store, store)))
    assert json.loads(document)["plan_id"] == expected.parts[0].prepared.plan.id
    saved = parse_plan_file(document.encode(), "plan.json")
    run = saved.runs[""]

    def prepared() -> Prepared:
        work = prepare_planned(saved, store, ["m"], store, "t", saved.options, records=NoRecords())
        return work.parts[0].prepared

    def part(number: int) -> PartDone:
        return write_share(
            store, store, prepared(), Share(number, count), ONE, Silent(), planned=run
        )

    for number in (number for number in order if number <= count):
        part(number)
        if isinstance(store, MemoryBucket):
            lose_uploads(store, chance)
        else:
            lose_files(store, chance)
    done = [part(number) for number in range(1, count + 1)]
    assert done[-1].missing == ()
    commit(store, store, prepared(), ONE, Silent(), planned=run)
    assert tree(store, "t") == tree(store, "expected")
    assert not isinstance(store, MemoryBucket) or store.uploads("") == []
