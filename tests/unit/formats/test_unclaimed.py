"""A file that no format claims is called what it looks like, by both of its ends."""

from __future__ import annotations

import pytest

from shardctl.formats.sniff import UNKNOWN
from shardctl.formats.unclaimed import kind_of, unclaimed
from shardctl.testing.builders import BytesReader


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"GGUF\3\0\0\0" + bytes(100), "GGUF"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64, "Git LFS"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"", "empty"),
    ],
)
def test_known_kinds(data: bytes, name: str) -> None:
    """The finding and the kind say the same of a file."""
    reader = BytesReader("x", data)
    finding = unclaimed(reader)
    assert (finding.severity, finding.file) == ("error", "x")
    for said in (finding.message, kind_of(reader).what):
        assert name.lower() in said.lower()
    assert finding.hint


def test_an_unknown_file_is_unknown() -> None:
    """What looks like nothing is not called anything."""
    reader = BytesReader("x", b"\x01\x02" * 200)
    assert kind_of(reader) is UNKNOWN
    assert unclaimed(reader).severity == "error"


def test_only_the_ends_are_read() -> None:
    """A file of any size costs two short reads."""
    reader = BytesReader("x", bytes(10_000_000))
    unclaimed(reader)
    assert sum(length for _, length in reader.ranges) < 1_000_000
