"""Shares of a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.view.shares import Share, group_shares, percent_text, shares


@given(st.lists(st.integers(0, 10**15), max_size=20))
def test_shares_follow_each_other(sizes: list[int]) -> None:
    """Each part begins where the one before it ends, and all of them are the whole."""
    made = shares(((str(n), size, 1) for n, size in enumerate(sizes)), sum(sizes))
    assert [share.nbytes for share in made] == sizes
    ends = [share.begin + share.percent for share in made]
    assert [share.begin for share in made[1:]] == ends[:-1]
    assert not any(sizes) or ends[-1] == pytest.approx(100)


def test_an_empty_whole_has_no_shares() -> None:
    """Without bytes every share is zero."""
    assert shares([("a", 0, 2)], 0) == (Share("a", 0, 2, 0.0, 0.0),)


def test_dtypes_by_their_bytes() -> None:
    """The dtype with most bytes is first; a tied tensor counts, with no bytes added."""
    made = group_shares([("F32", 30), ("I64", 70), ("F32", 0)])
    assert [(share.name, share.nbytes, share.tensors) for share in made] == [
        ("I64", 70, 1),
        ("F32", 30, 2),
    ]
    assert [share.percent for share in made] == [70.0, 30.0]
    assert group_shares([]) == ()


@pytest.mark.parametrize(
    ("percent", "text"), [(0.0, "0.0"), (0.04, "<0.1"), (0.1, "0.1"), (100.0, "100.0")]
)
def test_little_is_not_nothing(percent: float, text: str) -> None:
    """Only what has no bytes at all is written as zero."""
    assert percent_text(percent) == text
