"""Read the `SHA256SUMS` of a directory, and of those around it and below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from shardctl.checksums import CHECKSUMS, parse_checksums
from shardctl.errors import FormatError
from shardctl.formats.limits import MAX_CHECKSUMS_BYTES
from shardctl.source.pipeline.components import directories_around
from shardctl.stores.base import Store
from shardctl.stores.paths import below


@dataclass(frozen=True, slots=True)
class Sums:
    """A `SHA256SUMS`: its path, and the digests in it by the names of files from a directory on.

    `unread` says why it was not read.
    """

    path: str
    digests: Mapping[str, str] = field(default_factory=dict)
    unread: FormatError | None = None


def read_checksums(store: Store, directory: str) -> Mapping[str, str] | None:
    """Return the digests in a directory's `SHA256SUMS` by file name; None without such a file.

    Raises FormatError for a file of more than 16 MiB.
    """
    data = checksums_bytes(store, directory)
    return None if data is None else parse_checksums(data)


def sums_of(store: Store, place: str, *, above: str = "", below: str = "") -> Iterator[Sums]:
    """Yield the `SHA256SUMS` in `place`, if there is one, with the digests of a directory's files.

    `above` is the name of that directory in `place`, where it is further down; `below` is that of
    `place` in the directory, where it is further up.
    """
    path = store.join(place, CHECKSUMS)
    try:
        digests = read_checksums(store, place)
    except FormatError as error:
        yield Sums(path, unread=error)
        return
    if digests is None:
        return
    drop, add = f"{above}/" if above else "", f"{below}/" if below else ""
    yield Sums(
        path,
        {
            add + name.removeprefix(drop): digest
            for name, digest in digests.items()
            if name.startswith(drop)
        },
    )


def sums_around(store: Store, directory: str) -> Iterator[Sums]:
    """Yield each `SHA256SUMS` around a directory in its pipeline, with the digests of its files."""
    for place, name in directories_around(store, directory):
        yield from sums_of(store, place, above=name)


def sums_for(store: Store, directory: str, names: Iterable[str]) -> tuple[Sums, ...]:
    """Return every `SHA256SUMS` that may list files of a directory, with the digests by name.

    There may be one in the directory, in those below it that have some of the files (`names`), and
    in those around it in a pipeline.
    """
    homes = sorted({name.rpartition("/")[0] for name in names} - {""})
    return (
        *sums_of(store, directory),
        *(
            each
            for home in homes
            for each in sums_of(store, below(store, directory, home), below=home)
        ),
        *sums_around(store, directory),
    )


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
