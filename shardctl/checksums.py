"""Checksums: the lines of `SHA256SUMS`, both ways, and CRC-32. Nothing here reads a file.

The lines are those of GNU coreutils' `sha256sum`: 64 hex digits, a space, a space or `*`, and the
name; where the name has a backslash or a line break, those are escaped and the line begins with a
backslash (coreutils manual, "md5sum invocation").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

CHECKSUMS = "SHA256SUMS"

_LINE = re.compile(r"^(\\?)([0-9a-fA-F]{64}) [ *](.+)$", re.MULTILINE)
_ESCAPED = {"\\": r"\\", "\n": r"\n", "\r": r"\r"}
_UNESCAPED = {escaped: plain for plain, escaped in _ESCAPED.items()}


def parse_checksums(data: bytes) -> dict[str, str]:
    """Return the digests, in lower-case hexadecimal, by file name; skip all other lines."""
    sums: dict[str, str] = {}
    for line in _LINE.finditer(data.decode("utf-8", "surrogateescape")):
        escaped, digest, name = line.groups()
        name = name.removesuffix("\r")
        if escaped:
            name = re.sub(r"\\[\\nr]", lambda found: _UNESCAPED[found[0]], name)
        if name:
            sums[name.removeprefix("./")] = digest.lower()
    return sums


def is_plain(data: bytes) -> bool:
    """Whether a file of checksums can be edited: it is neither signed nor of another form.

    A signature holds for the bytes as they are; lines in the form of BSD, or of another
    program, are not understood, and neither are those that end in NUL (`sha256sum --zero`) or are
    written in UTF-16.
    """
    if b"\0" in data:
        return False
    lines = [line.strip() for line in data.split(b"\n")]
    return not any(line.startswith((b"-----BEGIN", b"SHA", b"MD5", b"BLAKE")) for line in lines)


def edit_checksums(data: bytes, gone: Collection[str], added: Mapping[str, str]) -> bytes:
    """Return a file without the lines of files that are gone, and with those that are added.

    Every other line stays as it is, comments too.
    """
    removed = {*gone, *added}
    kept = [
        line for line in data.splitlines(keepends=True) if not removed & set(parse_checksums(line))
    ]
    if kept and not kept[-1].endswith(b"\n"):
        kept[-1] += b"\n"
    return b"".join(kept) + format_checksums(added)


def format_checksums(sums: Mapping[str, str]) -> bytes:
    """Return the file for these digests by name, sorted by name."""
    return "".join(_line(name, digest) for name, digest in sorted(sums.items())).encode(
        "utf-8", "surrogateescape"
    )


def _line(name: str, digest: str) -> str:
    escaped = "".join(_ESCAPED.get(character, character) for character in name)
    return f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n"


Bytes = bytes | bytearray | memoryview

# zlib-ng computes CRC-32 with the processor's own instructions, about twice as fast as the standard
# library's zlib.


def crc32(data: Bytes, value: int = 0) -> int:
    """Return the CRC-32 of some bytes; `value` is that of the bytes before them."""
    from zlib_ng import zlib_ng  # noqa: PLC0415 - only `.bin` files have CRCs

    return zlib_ng.crc32(data, value)


def combine(first: int, second: int, length: int) -> int:
    """Return the CRC-32 of two parts joined; `length` is that of the second part, in bytes."""
    from zlib_ng import zlib_ng  # noqa: PLC0415 - only `.bin` files have CRCs

    return zlib_ng.crc32_combine(first, second, length)
