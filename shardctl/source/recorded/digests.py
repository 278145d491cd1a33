"""Where the SHA-256 of a weights file is recorded beside it.

In `SHA256SUMS`, there or in a directory of the pipeline above; in the name of a blob of the hub's
cache, to which the files of a snapshot are links (`models--ORG--NAME/blobs/SHA256`); and in the
etag that the hub's library keeps of what it fetched into a directory
(`.cache/huggingface/download/FILE.metadata`: the commit, the etag and the time, a line each). The
hub's names and etags of files that are not in LFS are Git's digests, which are shorter and are
passed over. Source: huggingface_hub 2.4, `file_download.py` and `_local_folder.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from shardctl.checksums import CHECKSUMS
from shardctl.source.recorded.checksum_file import Sums
from shardctl.source.recorded.hub_cache import is_blob
from shardctl.stores.base import Store
from shardctl.stores.optional import followed
from shardctl.text import escape

_SHA256 = re.compile("[0-9a-f]{64}")
_DOWNLOADS = (".cache", "huggingface", "download")
#: The most bytes of such a record that are read; it has about 130.
_RECORD_BYTES = 4096
#: Directories upwards in which a record of a file is looked for: a part of a pipeline may be named.
_LEVELS = 3


@dataclass(frozen=True, slots=True)
class Digest:
    """A recorded SHA-256, in lower-case hexadecimal, and where it is recorded, in words."""

    sha256: str
    where: str


def is_sha256(text: str) -> bool:
    """Whether a text has the form of a SHA-256 in lower-case hexadecimal."""
    return _SHA256.fullmatch(text) is not None


def recorded_digests(
    store: Store, directory: str, files: Mapping[str, str], sums: Iterable[Sums]
) -> Mapping[str, tuple[Digest, ...]]:
    """Return what is recorded for each of some files, by path.

    `files` gives their names in the directory, by path; `sums` are the lists that may have them.
    """
    lists = tuple(sums)
    digests: dict[str, tuple[Digest, ...]] = {}
    for path, name in files.items():
        found = (
            *_listed(store, directory, lists, name),
            (_blob_name(store, path), "its name in the hub's cache"),
            (_etag(store, path), "the etag that was recorded when it was downloaded"),
        )
        digests[path] = tuple(Digest(sha, where) for sha, where in found if sha is not None)
    return digests


def _listed(
    store: Store, directory: str, sums: Iterable[Sums], name: str
) -> Iterator[tuple[str | None, str]]:
    """Yield what each `SHA256SUMS` says of a file; one that cannot be read says nothing here."""
    own = store.join(directory, CHECKSUMS)
    for each in sums:
        yield each.digests.get(name), CHECKSUMS if each.path == own else f"'{escape(each.path)}'"


def _blob_name(store: Store, path: str) -> str | None:
    """Return the name of a blob of the hub's cache, where that is a SHA-256."""
    blob = followed(store, path)
    name = store.split(blob)[1]
    return name if is_blob(store, blob) and is_sha256(name) else None


def _etag(store: Store, path: str) -> str | None:
    """Return the etag of a downloaded file, where that is a SHA-256."""
    directory, name = store.split(path)
    below: tuple[str, ...] = (f"{name}.metadata",)
    for _ in range(_LEVELS):
        record = store.join(directory, *_DOWNLOADS, *below)
        if store.kind(record) == "file":
            return _etag_of(store, record)
        directory, last = store.split(directory)
        if last in ("", ".", ".."):
            return None
        below = (last, *below)
    return None


def _etag_of(store: Store, record: str) -> str | None:
    with store.open(record) as reader:
        text = reader.read(0, min(reader.version.size, _RECORD_BYTES))
    lines = text.decode("utf-8", "replace").split("\n")
    etag = lines[1].strip().strip('"') if len(lines) > 1 else ""
    return etag if is_sha256(etag) else None
