"""What tells one file from another, and one state of it from another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.stores.base import Copied, Entry, Identity

SEEN = Identity("file", 1, 2, 3, 4, 5)
#: The same as a store without inodes and times has it.
MARKED = Identity("file", 0, 0, 3, 0, 0, mark="v")


@pytest.mark.parametrize("inodes", [True, False])
@pytest.mark.parametrize("seen", [SEEN, MARKED])
def test_a_file_that_was_not_touched_is_unchanged(seen: Identity, *, inodes: bool) -> None:
    """Nor is one that is looked at through another mount, which has another device."""
    for now in (seen, replace(seen, device=9)):
        assert now.is_unchanged(seen, inodes=inodes)
        assert now.is_moved(seen, inodes=inodes)


@pytest.mark.parametrize(
    "change", [{"kind": "directory"}, {"size": 4}, {"mtime_ns": 5}, {"mark": "w"}]
)
@pytest.mark.parametrize("seen", [SEEN, MARKED])
def test_another_state_is_neither(seen: Identity, change: dict[str, object]) -> None:
    """Another kind, size, time or mark is another file, or another state of it."""
    now = replace(seen, **change)  # type: ignore[arg-type] # one of its fields
    for inodes in (True, False):
        assert not now.is_unchanged(seen, inodes=inodes)
        assert not now.is_moved(seen, inodes=inodes)


def test_a_renamed_file_is_moved() -> None:
    """A rename changes the ctime, so that the file is not unchanged."""
    now = replace(SEEN, ctime_ns=6)
    assert now.is_moved(SEEN, inodes=True)
    assert not now.is_unchanged(SEEN, inodes=True)


def test_inodes_count_where_they_are_kept() -> None:
    """A filesystem may give a file another number when it is mounted again."""
    now = replace(SEEN, inode=7)
    assert now.is_unchanged(SEEN, inodes=False)
    assert not now.is_unchanged(SEEN, inodes=True)
    assert not now.is_moved(SEEN, inodes=True)


@pytest.mark.parametrize(
    ("before", "now", "unchanged"), [(2, 2, True), (2, 3, True), (1, 2, False), (2, 1, False)]
)
def test_the_ctime_of_hard_links_is_that_of_all(before: int, now: int, *, unchanged: bool) -> None:
    """A rename of one changes it for the others, so that it does not count for several."""
    later = replace(SEEN, ctime_ns=6, links=now)
    assert later.is_unchanged(replace(SEEN, links=before), inodes=True) is unchanged


def test_two_names_of_one_file() -> None:
    """Device and inode tell, whatever else has changed meanwhile."""
    assert SEEN.is_same_file(replace(SEEN, size=9, mtime_ns=9))
    assert not SEEN.is_same_file(replace(SEEN, inode=9))
    assert not SEEN.is_same_file(replace(SEEN, device=9))


@pytest.mark.parametrize(
    ("kind", "target", "readable"),
    [
        ("file", None, True),
        ("link", "file", True),
        ("link", None, False),
        ("link", "directory", False),
        ("directory", None, False),
        ("other", None, False),
    ],
)
def test_what_can_be_read(kind: str, target: str | None, *, readable: bool) -> None:
    """A regular file, and a link to one."""
    entry = Entry("a", kind, target, 0)  # type: ignore[arg-type] # they are such
    assert entry.readable is readable


def test_copied_bytes_add_up() -> None:
    """Each way by itself."""
    one, other = Copied(1, 2, 3, 4), Copied(10, 20, 30, 40)
    assert one + other == Copied(11, 22, 33, 44)
    assert (one.total, Copied().total) == (10, 0)
    assert sum([one, other], Copied()).total == 110
