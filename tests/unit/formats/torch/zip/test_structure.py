"""Numbers of 64 bits are read from an extra field that is whole, and that is there once."""

from __future__ import annotations

import struct

import pytest

from shardctl.formats.torch.zip.structure import (
    AMBIGUOUS,
    DAMAGED,
    ZipFaultError,
    next_value,
    zip64_values,
)


def field(kind: int, data: bytes, length: int | None = None) -> bytes:
    """An extra field; `length` is what it claims."""
    return struct.pack("<HH", kind, len(data) if length is None else length) + data


SIZES = struct.pack("<QQ", 1 << 40, 7)


@pytest.mark.parametrize("before", [b"", field(0x4246, b"ZZZ"), field(9, b"")])
def test_values_come_in_their_order(before: bytes) -> None:
    """Other fields, before and after, are passed over."""
    assert zip64_values(before + field(1, SIZES) + before, 0) == [1 << 40, 7]
    assert zip64_values(before, 0) == []


def test_part_of_a_value_is_none() -> None:
    """A field of fifteen bytes has one value of eight."""
    assert zip64_values(field(1, SIZES[:15]), 0) == [1 << 40]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (b"\1", "cut short"),
        (b"\1\0\0", "cut short"),
        (field(9, b"ab") + b"\1", "cut short"),
        (field(1, SIZES, 17), "longer than its record's header"),
        (field(9, b"", 1), "longer than its record's header"),
    ],
)
def test_every_field_is_whole(extra: bytes, words: str) -> None:
    """A field that ends past the header is damage, at the header's place."""
    with pytest.raises(ZipFaultError, match=words) as caught:
        zip64_values(extra, 77)
    assert (caught.value.code, caught.value.offset) == ("zip-invalid", 77)
    assert caught.value.hint == DAMAGED


@pytest.mark.parametrize("extra", [field(1, SIZES) * 2, field(0x7075, b"name"), field(1, b"") * 2])
def test_what_readers_would_read_differently_is_refused(extra: bytes) -> None:
    """Sizes that are there twice, and a second name, are ambiguous."""
    with pytest.raises(ZipFaultError, match="another name, or sizes twice") as caught:
        zip64_values(extra, 0)
    assert (caught.value.code, caught.value.hint) == ("zip-ambiguous", AMBIGUOUS)


def test_each_value_is_used_once() -> None:
    """The next value is taken, and one that is missing is damage."""
    values = [1, 2]
    assert (next_value(values, 0), next_value(values, 0)) == (1, 2)
    with pytest.raises(ZipFaultError, match="zip64 field that is missing") as caught:
        next_value(values, 5)
    assert (caught.value.code, caught.value.offset) == ("zip-invalid", 5)
