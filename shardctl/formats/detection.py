"""Detect the format of a file from its contents, never from its name.

The reader of a format is imported when it is first needed: most runs need only one, and start
sooner.
"""

from __future__ import annotations

from shardctl.findings import Report
from shardctl.formats.base import FormatReader
from shardctl.formats.foreign import Kind, foreign_kind
from shardctl.formats.registry import formats
from shardctl.formats.sniff import SNIFFED_BYTES, UNKNOWN, broken, unknown
from shardctl.model import File
from shardctl.stores.base import Reader

#: Bytes of either end of a file that `FormatReader.recognise` is given.
_END_BYTES = 64


def recognise_file(reader: Reader) -> FormatReader | None:
    """Return the reader for a file, by its first and last bytes; None where no format claims it.

    The end is read only where the beginning does not say it: it may lie far away.
    """
    size = reader.version.size
    length = min(size, _END_BYTES)
    head = reader.read(0, length)

    def claiming(tail: bytes) -> FormatReader | None:
        readers = (load() for known in formats() for load in known.load_readers)
        return next((each for each in readers if each.recognise(head, tail)), None)

    return claiming(b"") or claiming(reader.read(size - length, length))


def read_file(reader: Reader, report: Report) -> File | None:
    """Read the header of a weights file of any format. Everything that is wrong goes to `report`.

    Returns None where nothing usable is left; a file that is not a weights file at all is reported
    as what it looks like.
    """
    found = recognise_file(reader)
    if found is not None:
        return found.read(reader, report)
    size = reader.version.size
    report(unknown(reader.read(0, min(size, SNIFFED_BYTES)), reader.path, size, _foreign(reader)))
    return None


def kind_of(reader: Reader) -> Kind:
    """Return what a file looks like that no format claims, with a next step."""
    size = reader.version.size
    head = reader.read(0, min(size, SNIFFED_BYTES))
    return broken(head, reader.path, size) or _foreign(reader) or UNKNOWN


def _foreign(reader: Reader) -> Kind | None:
    from shardctl.formats.archives import archive_kind  # noqa: PLC0415 - only for a message

    size = reader.version.size
    head = reader.read(0, min(size, SNIFFED_BYTES))
    length = min(size, _END_BYTES)
    return archive_kind(reader, head) or foreign_kind(head, reader.read(size - length, length))
