"""Files as bars, and all of them before and after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.commands.preparing.prepare import prepare
from shardctl.formats.torch.format import TORCH
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.planning.grouping.packing import pack
from shardctl.planning.plan import Shard
from shardctl.planning.request import Limits, WriteOptions
from shardctl.testing.memory import MemoryStore
from shardctl.view.files import (
    Bars,
    Ending,
    FileBar,
    before_and_after,
    both_ends,
    endings,
    planned,
)
from tests.support.memory_checkpoints import sample


def shard(*tensors: tuple[str, int]) -> Shard:
    """A shard of byte tensors, in a file that is 10 bytes larger."""
    made = tuple(
        Tensor(n, DTYPES["U8"], (size,), Storage(Extent("f", 0, size), n)) for n, size in tensors
    )
    size = sum(tensor.nbytes for tensor in made)
    return Shard("s", made, size + 10, size)


def test_the_scale_is_the_limit_or_the_fullest_file() -> None:
    """A bar is over the limit where it holds more; without a limit none is."""
    small, large = FileBar("a", 5, 9, 1), FileBar("b", 30, 34, 1)
    assert Bars((small, large)).longest == 30
    assert Bars((small, large), 20).longest == 30
    assert Bars((small,), 20).longest == 20
    assert Bars(()).longest == 1
    assert [Bars((small, large), 5).is_over(file) for file in (small, large)] == [False, True]
    assert not Bars((large,)).is_over(large)


@given(st.lists(st.integers(), min_size=13, max_size=50))
def test_both_ends_and_what_is_between(rows: list[int]) -> None:
    """Nothing is lost or shown twice, and the ends are equally long."""
    first, hidden, last = both_ends(rows, 12)
    assert [*first, *hidden, *last] == rows
    assert len(first) == len(last) == 6


def test_endings_are_those_of_the_packing() -> None:
    """Each shard names the tensor that closed it, in the order of packing; one over the limit names
    its own.
    """
    sizes = [("a", 2), ("big\n", 9), ("b", 2), ("c", 2), ("d", 3), ("e", 4)]
    shards = pack([nbytes for _, nbytes in sizes], 5)
    packed = [shard(*(sizes[number] for some in each for number in some)) for each in shards]
    assert [[t.name for t in one.tensors] for one in packed] == [
        ["big\n"],
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]
    assert endings(packed, Limits(5), TORCH) == [
        Ending(r"big\n", 9, 5, alone=True),
        Ending("c", 2, 1),
        Ending("e", 4, 0),
        None,
    ]
    assert endings(packed, Limits(), TORCH) == [None] * 4
    assert endings([shard()], Limits(5), TORCH) == [None]


def test_a_strict_limit_counts_the_whole_file() -> None:
    """With a strict limit the room that is left is what the file's header leaves too."""
    packed = [shard(("a", 2)), shard(("b", 9))]
    assert endings(packed, Limits(20), TORCH)[0] == Ending("b", 9, 18)
    assert endings(packed, Limits(20, strict=True), TORCH)[0] == Ending("b", 9, 8)


@pytest.mark.parametrize("strict", [False, True])
def test_a_plan_before_and_after(*, strict: bool) -> None:
    """One scale for both, each file by its size; bars are filled by what the limit counts."""
    store = MemoryStore()
    sample(store, "m", count=3, nbytes=100)
    options = WriteOptions(Limits(250, strict=strict))
    prepared = prepare(store, "m", store, "out", options, finish=False)
    plan = prepared.plan
    bars = planned(plan)
    assert [bar.size for bar in bars.files] == [shard.size for shard in plan.shards]
    assert [bar.nbytes for bar in bars.files] == [
        shard.size if strict else shard.data_size for shard in plan.shards
    ]
    assert bars.limit == 250
    before, after = before_and_after(prepared.checkpoint, plan)
    assert (before.label, before.format) == ("before", "safetensors")
    assert [file.name for file in before.files] == ["model.safetensors"]
    assert [file.nbytes for file in after.files] == [shard.size for shard in plan.shards]
    assert before.scale == after.scale == sum(shard.size for shard in plan.shards)
    assert sum(file.percent for file in after.files) == pytest.approx(100)
