"""Builds torch's zip files by hand, so that any field of any header can be wrong."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Entry:
    """One record. What is None is as it should be; `local` and `central` replace header fields by
    name.
    """

    name: str | bytes
    data: bytes
    descriptor: bool = True
    local: Mapping[str, int] = field(default_factory=dict)
    central: Mapping[str, int] = field(default_factory=dict)
    local_name: bytes | None = None
    local_extra: bytes = b""
    central_extra: bytes = b""
    before: bytes = b""
    tail: bytes | None = None

    @property
    def raw_name(self) -> bytes:
        """The name's bytes."""
        return self.name.encode() if isinstance(self.name, str) else self.name


_LOCAL = {
    "version": 0,
    "flags": 0x800,
    "method": 0,
    "time": 0,
    "date": 0,
    "crc": 0,
    "packed": 0,
    "size": 0,
}


def pack(
    entries: Sequence[Entry],
    *,
    end: Mapping[str, int] | None = None,
    comment: bytes = b"",
    before_directory: bytes = b"",
) -> bytes:
    """The zip of these entries; `end` replaces fields of the end record."""
    parts: list[bytes] = []
    central: list[bytes] = []
    at = 0
    for entry in entries:
        local, directory = _entry(entry, at + len(entry.before))
        parts.append(entry.before + local)
        central.append(directory)
        at += len(entry.before) + len(local)
    at += len(before_directory)
    listed = b"".join(central)
    fields = {
        "disk": 0,
        "first": 0,
        "here": len(entries),
        "count": len(entries),
        "bytes": len(listed),
        "begin": at,
    }
    fields |= {"comment": len(comment), **(end or {})}
    tail = b"PK\x05\x06" + struct.pack("<HHHHIIH", *fields.values()) + comment
    return b"".join(parts) + before_directory + listed + tail


def _entry(entry: Entry, at: int) -> tuple[bytes, bytes]:
    crc, size, name = zlib.crc32(entry.data), len(entry.data), entry.raw_name
    flags = 0x808 if entry.descriptor else 0x800
    told = {} if entry.descriptor else {"crc": crc, "packed": size, "size": size}
    local_name = name if entry.local_name is None else entry.local_name
    local = {
        **_LOCAL,
        "flags": flags,
        **told,
        "name": len(local_name),
        "extra": len(entry.local_extra),
        **entry.local,
    }
    head = (
        b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", *local.values()) + local_name + entry.local_extra
    )
    tail = b"PK\x07\x08" + struct.pack("<III", crc, size, size) if entry.descriptor else b""
    fields = {
        "made": 0, "needed": 0, "flags": flags, "method": 0, "time": 0, "date": 0, "crc": crc,
        "packed": size, "size": size, "name": len(name), "extra": len(entry.central_extra),
        "comment": 0, "disk": 0, "internal": 0, "external": 0, "at": at, **entry.central,
    }  # fmt: skip
    directory = (
        b"PK\x01\x02"
        + struct.pack("<HHHHHHIIIHHHHHII", *fields.values())
        + name
        + entry.central_extra
    )
    return head + entry.data + (tail if entry.tail is None else entry.tail), directory
