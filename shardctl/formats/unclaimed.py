"""What a file is that no format claims, by the bytes at both of its ends."""

from __future__ import annotations

from shardctl.findings import Finding
from shardctl.formats.archives import archive_kind
from shardctl.formats.base import END_BYTES
from shardctl.formats.foreign import Kind, foreign_kind
from shardctl.formats.sniff import SNIFFED_BYTES, UNKNOWN, broken, unknown
from shardctl.stores.base import Reader


def unclaimed(reader: Reader) -> Finding:
    """Return the finding for a file that no format claims: it is called what it looks like."""
    size = reader.version.size
    return unknown(reader.read(0, min(size, SNIFFED_BYTES)), reader.path, size, _foreign(reader))


def kind_of(reader: Reader) -> Kind:
    """Return what a file looks like that no format claims, with a next step."""
    size = reader.version.size
    head = reader.read(0, min(size, SNIFFED_BYTES))
    return broken(head, reader.path, size) or _foreign(reader) or UNKNOWN


def _foreign(reader: Reader) -> Kind | None:
    size = reader.version.size
    head = reader.read(0, min(size, SNIFFED_BYTES))
    length = min(size, END_BYTES)
    return archive_kind(reader, head) or foreign_kind(head, reader.read(size - length, length))
