"""`SHA256SUMS`: the lines of GNU coreutils' `sha256sum`, both ways. Nothing here reads a file.

A line is 64 hex digits, a space, a space or `*`, and the name; where the name has a backslash or a
line break, those are escaped and the line begins with a backslash (coreutils manual, "md5sum
invocation").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

CHECKSUMS = "SHA256SUMS"

_LINE = re.compile(r"^(\\?)([0-9a-fA-F]{64}) [ *](.+)$", re.MULTILINE)
_ESCAPED = {"\\": r"\\", "\n": r"\n", "\r": r"\r"}
_UNESCAPED = {escaped: plain for plain, escaped in _ESCAPED.items()}


def parse_checksums(data: bytes) -> dict[str, str]:
    """The digests, in lower-case hexadecimal, by file name. What is no such line is passed over."""
    sums: dict[str, str] = {}
    for line in _LINE.finditer(data.decode("utf-8", "surrogateescape")):
        escaped, digest, name = line.groups()
        name = name.removesuffix("\r")
        if escaped:
            name = re.sub(r"\\[\\nr]", lambda found: _UNESCAPED[found[0]], name)
        if name:
            sums[name.removeprefix("./")] = digest.lower()
    return sums


def format_checksums(sums: Mapping[str, str]) -> bytes:
    """The file for these digests by name, sorted by name."""
    return "".join(_line(name, digest) for name, digest in sorted(sums.items())).encode(
        "utf-8", "surrogateescape"
    )


def _line(name: str, digest: str) -> str:
    escaped = "".join(_ESCAPED.get(character, character) for character in name)
    return f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n"


Bytes = bytes | bytearray | memoryview


def crc32(data: Bytes, value: int = 0) -> int:
    """The CRC-32 of some bytes, going on from that of the bytes before them."""
    from zlib_ng import zlib_ng  # noqa: PLC0415 - see above

    return zlib_ng.crc32(data, value)


def combine(first: int, second: int, length: int) -> int:
    """The CRC-32 of two parts one after the other, from theirs; `length` is the second part's, in bytes."""
    from zlib_ng import zlib_ng  # noqa: PLC0415 - see above

    return zlib_ng.crc32_combine(first, second, length)
