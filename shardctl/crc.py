"""CRC-32 (the polynomial of zip, gzip and PNG), as fast as this machine allows, and from parts.

zlib-ng computes it with the processor's own instructions, about twice as fast as the standard library's zlib. It is
imported when the first byte is summed, so that commands that sum nothing do not pay for it.
"""

from __future__ import annotations

Bytes = bytes | bytearray | memoryview


def crc32(data: Bytes, value: int = 0) -> int:
    """The CRC-32 of some bytes, going on from that of the bytes before them."""
    from zlib_ng import zlib_ng  # noqa: PLC0415 - see above

    return zlib_ng.crc32(data, value)


def combine(first: int, second: int, length: int) -> int:
    """The CRC-32 of two parts one after the other, from theirs; `length` is the second part's, in bytes."""
    from zlib_ng import zlib_ng  # noqa: PLC0415 - see above

    return zlib_ng.crc32_combine(first, second, length)
