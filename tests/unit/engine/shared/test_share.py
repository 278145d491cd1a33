"""How files are shared out: balanced, the same everywhere, and every one of them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.shared.share import PartDone, shares
from shardctl.stores.base import Copied


@given(st.lists(st.integers(0, 1000)), st.integers(1, 9))
def test_shares_are_balanced(sizes: list[int], count: int) -> None:
    """Every file is in one part, in order, and no part has more than the mean and one file."""
    parts = shares(sizes, count)
    assert len(parts) == count
    assert sorted(itertools.chain(*parts)) == list(range(len(sizes)))
    assert all(one == sorted(one) for one in parts)
    loads = [sum(sizes[number] for number in one) for one in parts]
    assert max(loads) <= sum(sizes) / count + max(sizes, default=0)
    assert shares(sizes, count) == parts


def test_large_files_are_spread() -> None:
    """The largest files go to different parts, and small ones fill up."""
    assert shares([5, 1, 5, 1, 2], 2) == [[0, 4], [1, 2, 3]]
    assert shares([1], 3) == [[0], [], []]


def test_the_state_of_every_file() -> None:
    """What is not this part's own, and not missing, another part has done."""
    own, earlier = (Receipt(name, 1, None, Copied()) for name in "ab")
    states = PartDone((own,), (earlier,), ("c",)).states("abcd")
    assert states == {"a": "written", "b": "kept", "c": "missing", "d": "done"}
