"""Room in the target is compared with what is needed before anything is written."""

from __future__ import annotations

import pytest

from shardctl.engine.space import SLACK_BYTES, Room, check_space, room
from shardctl.errors import StorageError
from shardctl.testing.memory import MemoryStore

MB = 1024 * 1024


class Small(MemoryStore):
    """A store with so many bytes free."""

    def __init__(self, free: int | None) -> None:
        super().__init__()
        self.free = free

    def free_bytes(self, directory: str) -> int | None:  # noqa: ARG002 - as everywhere
        """Return the bytes that are free."""
        return self.free


def test_there_is_slack_beside_the_files() -> None:
    """The journal and directory entries need room too; where it is unknown, that is said."""
    assert room(Small(7), "t", 10) == Room(10 + SLACK_BYTES, 7)
    assert room(MemoryStore(), "t", 10) == Room(10 + SLACK_BYTES, None)


@pytest.mark.parametrize("free", [None, 10 + SLACK_BYTES])
def test_what_fits_exactly_or_is_unknown_goes_on(free: int | None) -> None:
    """A run needs no byte more than it uses, and an unknown amount stops none."""
    check_space(Small(free), "t", 10, replaces=False)
    check_space(MemoryStore(), "t", 1 << 60, replaces=False)


def test_one_byte_too_few_is_refused() -> None:
    """The error says what is needed, what is free, and how much to free."""
    with pytest.raises(StorageError, match="not enough space in 't'") as caught:
        check_space(Small(10 + SLACK_BYTES - 1), "t", 10, replaces=False)
    assert (caught.value.code, caught.value.file, caught.value.exit_code) == ("disk-full", "t", 5)
    assert caught.value.hint.startswith("free 1 B there, or choose")
    with pytest.raises(StorageError) as caught:
        check_space(Small(0), "t", 3 * 10**9, replaces=False)
    assert "3.0 GB needed, 0 B free" in caught.value.message


def test_replaced_files_still_take_room() -> None:
    """Where files are replaced, it is said why their room does not count; else not."""
    for replaces in (True, False):
        with pytest.raises(StorageError) as caught:
            check_space(Small(0), "t", 1, replaces=replaces)
        assert ("removed only after the new ones are safe" in str(caught.value)) is replaces
