"""CRC-32 against the standard library's."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from shardctl.checksums import combine, crc32


@given(st.binary(), st.binary())
def test_parts_make_the_whole(one: bytes, other: bytes) -> None:
    """Sums go on from each other, and two of them combine to that of both parts."""
    whole = zlib.crc32(one + other)
    assert crc32(other, crc32(one)) == whole
    assert combine(crc32(one), crc32(other), len(other)) == whole
    assert crc32(bytearray(one)) == crc32(memoryview(one)) == zlib.crc32(one)


def test_parts_of_many_gigabytes() -> None:
    """Lengths of more than 32 bits combine as the same bytes in smaller parts do."""
    zeros = crc32(bytes(1024))
    length = 1024
    while length < 2**36:
        zeros, length = combine(zeros, zeros, length), 2 * length
    by_halves = combine(combine(7, combine(zeros, zeros, length), 2 * length), 0, 0)
    assert by_halves == combine(combine(7, zeros, length), zeros, length)
