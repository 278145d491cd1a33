"""Read the `SHA256SUMS` of a directory."""

from __future__ import annotations

from collections.abc import Mapping

from shardctl.checksums import CHECKSUMS, parse_checksums
from shardctl.errors import FormatError
from shardctl.formats.limits import MAX_CHECKSUMS_BYTES
from shardctl.stores.base import Store


def read_checksums(store: Store, directory: str) -> Mapping[str, str] | None:
    """Return the digests in a directory's `SHA256SUMS` by file name; None without such a file.

    Raises FormatError for a file of more than 16 MiB.
    """
    data = checksums_bytes(store, directory)
    return None if data is None else parse_checksums(data)


def checksums_bytes(store: Store, directory: str) -> bytes | None:
    """Return a directory's `SHA256SUMS`; None where there is none. Raises as `read_checksums`."""
    path = store.join(directory, CHECKSUMS)
    if store.kind(path) != "file":
        return None
    with store.open(path) as reader:
        size = reader.version.size
        if size > MAX_CHECKSUMS_BYTES:
            raise FormatError(
                f"{CHECKSUMS} has {size:,} bytes, and more than {MAX_CHECKSUMS_BYTES:,} are not "
                "read",
                hint="write it again for the files of this directory alone, or remove it",
                code="digest-unread",
                file=path,
            )
        return reader.read(0, size)
