"""The records of slices, which are kept in columns."""

from __future__ import annotations

import pickle

import pytest

from shardctl.model import Extent, Storage
from shardctl.source.distributed.records import SliceRecords

_BEFORE = [
    Storage(Extent("x", 3, 5), "version", 7),
    Storage(Extent("x", 64, 0), "0", 0),
    Storage(Extent("x", 128, 9), "1", None),
]
_AFTER = [
    Storage(Extent("d/__0_0.distcp", 1003, 5), "a/version", 7),
    Storage(Extent("d/__0_0.distcp", 1064, 0), "a/0", 0),
    Storage(Extent("d/__0_0.distcp", 1128, 9), "a/1", None),
]


def _records() -> SliceRecords:
    records = SliceRecords("d/__0_0.distcp")
    records.add("a", _BEFORE, 1000)
    return records


def test_records_are_those_of_the_data_file() -> None:
    """They have its path, the offset there, the entry in the key, and the checksum or none."""
    records = _records()
    assert list(records) == _AFTER
    assert [records[at] for at in range(len(records))] == _AFTER
    assert records[-1] == _AFTER[-1]
    assert records[1:] == tuple(_AFTER[1:])
    with pytest.raises(IndexError):
        records[3]


def test_no_records_are_false() -> None:
    """A file without any is one whose records cannot be checked."""
    assert not SliceRecords("d/__0_0.distcp")


def test_records_can_be_pickled() -> None:
    """They are the same on another machine."""
    assert list(pickle.loads(pickle.dumps(_records()))) == _AFTER
