"""What a part did, and what is missing, is said of every shard."""

from __future__ import annotations

import pytest

from shardctl.cli.output.part_lines import rows, summary
from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.saved.sharing import Share
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.shared.share import PartDone
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.base import Copied
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import sample


@pytest.fixture
def prepared() -> Prepared:
    """A run of twelve shards."""
    store = MemoryStore()
    sample(store, count=12)
    options = WriteOptions(limits=Limits(num_shards=12))
    return prepare(store, "m", store, "t", options, finish=True)


def done(prepared: Prepared, written: int, kept: int, missing: int) -> PartDone:
    """A part that wrote, kept and lacks so many shards, in order."""
    names = [shard.filename for shard in prepared.plan.shards]
    receipts = [Receipt(name, 1_000, None, Copied()) for name in names]
    begin = written + kept
    return PartDone(
        tuple(receipts[:written]),
        tuple(receipts[written:begin]),
        tuple(names[begin : begin + missing]),
    )


def test_the_state_of_every_shard(prepared: Prepared) -> None:
    """Those of other parts are done, each in a row with its size."""
    first, *lines = rows(prepared, done(prepared, 1, 1, 1))
    assert first == "shard\tsize\tstate\n"
    fields = [line.rstrip("\n").split("\t") for line in lines]
    assert [each[2] for each in fields] == ["written", "kept", "missing", *["done"] * 9]
    assert [(each[0], int(each[1])) for each in fields] == [
        (shard.filename, shard.size) for shard in prepared.plan.shards
    ]


@pytest.mark.parametrize(("missing", "more"), [(1, False), (10, False), (11, True)])
def test_what_is_missing_is_named(prepared: Prepared, missing: int, *, more: bool) -> None:
    """Ten names at most, and an ellipsis for more."""
    first, second = summary(Share(2, 3), prepared, done(prepared, 1, 0, missing))
    assert first == f"part 2/3: wrote 1 shard (1.0 KB), kept 0; {12 - missing} of 12 are done"
    assert second.startswith("missing: model-00002-of-00012.safetensors")
    assert second.endswith("…") is more
    assert second.count("safetensors") == min(missing, 10)


def test_the_last_part_says_how_to_finish(prepared: Prepared) -> None:
    """With nothing missing, the commit is next."""
    *_, last = summary(Share(1, 1), prepared, done(prepared, 2, 10, 0))
    assert "--commit" in last
