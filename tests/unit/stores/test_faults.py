"""Failures of the system become errors that say what failed, where, why, and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shardctl.errors import MissingError, StorageError, TargetExistsError
from shardctl.stores.faults import (
    not_regular,
    read_failure,
    reading,
    shorter,
    shown,
    write_failure,
    writing,
)


def of(number: int) -> OSError:
    """The system's error of a number."""
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.ELOOP])
def test_what_is_absent_is_missing(number: int) -> None:
    """Reading what leads to nothing is a missing source; writing there is a failure."""
    error = read_failure(of(number), "d/x")
    assert isinstance(error, MissingError)
    assert (error.message, error.hint, error.file) == (
        "'d/x' does not exist",
        "check the path",
        "d/x",
    )
    assert isinstance(write_failure(of(number), "d/x"), StorageError)


def test_a_link_to_nothing_is_said_to_be_one(tmp_path: Path) -> None:
    """The link and what it should lead to are named."""
    link = tmp_path / "link"
    link.symlink_to("gone")
    error = read_failure(of(errno.ENOENT), str(link))
    assert error.message == f"'{link}' is a link to 'gone', which does not exist"
    assert "remove the link" in error.hint


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_has_its_own_code(number: int) -> None:
    """A full disk and a used quota are `disk-full`, and other failures are not."""
    error = write_failure(of(number), "d/x", 7_000)
    assert (error.code, error.exit_code, error.offset) == ("disk-full", 5, 7_000)
    assert "at byte 7,000: " in error.message
    assert "free space" in error.hint
    assert write_failure(of(errno.EIO), "d/x").code == "storage"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "permissions"),
        (errno.EPERM, "permissions"),
        (errno.EIO, "disk or the network may be failing"),
        (errno.ESTALE, "mount it again"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EFBIG, "max_shard_size"),
        (errno.EROFS, "read-only"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.EXDEV, "different filesystems"),
        (errno.EBADF, "system's log"),
    ],
)
def test_each_failure_has_a_next_step(number: int, words: str) -> None:
    """The system's own words are in the message, and the hint says what to do."""
    error = write_failure(of(number), "d/x")
    assert os.strerror(number) in error.message
    assert words in error.hint


def test_a_name_that_is_taken() -> None:
    """It is not a failure of the disk."""
    error = write_failure(FileExistsError(errno.EEXIST, "File exists"), "d/x")
    assert isinstance(error, TargetExistsError)
    assert error.file == "d/x"


def test_a_name_that_cannot_be() -> None:
    """A NUL in a name is an error of the name, for reading and for writing."""
    for failure in (read_failure, write_failure):
        error = failure(ValueError("embedded null byte"), "d/\0")
        assert isinstance(error, StorageError)
        assert error.message == "'d/\\x00' is not a valid file name on this system"
        assert error.hint == "choose another name"


def test_paths_are_safe_to_print() -> None:
    """Quoted, escaped, and a dot for the current directory."""
    assert shown("") == "'.'"
    assert shown("a\x1b") == "'a\\x1b'"
    assert "\x1b" not in not_regular("a\x1b").message
    assert not_regular("a").code == "file-not-regular"


def test_a_file_that_has_become_shorter() -> None:
    """The error has the byte where it ends, and the byte that was needed."""
    error = shorter("d/x", 1_000, 500)
    assert (error.offset, error.code) == (1_000, "source-changed")
    assert "it ends before byte 1,500" in error.message


def test_failures_inside_a_block_are_turned() -> None:
    """The cause is kept; what is not a failure of the system passes."""
    with pytest.raises(MissingError) as caught, reading("d/x"):
        raise of(errno.ENOENT)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(StorageError), writing("d/x"):
        raise of(errno.ENOENT)
    with pytest.raises(KeyError), writing("d/x"):
        raise KeyError
