"""Directories that hold no checkpoint themselves: a model's place in the hub's cache, and others.

The layout of the cache is that of huggingface_hub 2.4: `models--ORG--NAME` has `blobs/`, `refs/`
with the revision of each branch, and `snapshots/REVISION/` with links to the blobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardctl.errors import InputError, MissingError, ShardctlError, UsageError
from shardctl.formats.registry import formats
from shardctl.stores.base import Store
from shardctl.text import escape, plural

_SNAPSHOTS = "snapshots"
#: Bytes of a revision's name that are read: a commit has 40.
_REVISION_BYTES = 200
#: What programs add to the name of a file while they download it.
_UNFINISHED = (".incomplete", ".part", ".crdownload", ".aria2")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Place:
    """The directory that is meant, and what to tell the user where it is not the one given."""

    path: str
    note: str | None = None


def real_directory(store: Store, source: str) -> Place:
    """Return the directory to search: of a model's place in the hub's cache, the snapshot.

    Raises UsageError where the cache has several and none is that of `main`, and MissingError where
    it has none.
    """
    snapshots = store.join(source, _SNAPSHOTS)
    names = {entry.name: entry.kind for entry in store.list(source)}
    if names.get(_SNAPSHOTS) != "directory" or names.keys().isdisjoint({"blobs", "refs"}):
        return Place(source)
    revisions = _directories(store, snapshots)
    main = _revision(store, store.join(source, "refs", "main"))
    if main in revisions:
        taken, why = main, "the revision of main"
    elif len(revisions) == 1:
        taken, why = revisions[0], "the only one"
    elif revisions:
        choices = "; ".join(escape(store.join(snapshots, name)) for name in revisions[:_SHOWN])
        raise UsageError(
            f"'{escape(source)}' holds {len(revisions):,} snapshots, and none is that of main",
            hint=f"name one of them: {choices}",
            code="folder-ambiguous",
            file=source,
        )
    else:
        raise MissingError(
            f"'{escape(source)}' is a model in the hub's cache without a snapshot"
            f"{_downloads(store, store.join(source, 'blobs'))}",
            hint="download the model again",
            file=source,
        )
    note = f"reading snapshot {escape(taken)} of '{escape(source)}', {why}"
    return Place(store.join(snapshots, taken), note)


def nothing_in(store: Store, directory: str) -> ShardctlError:
    """Return the error for a directory without a checkpoint, with what it is or holds instead."""
    inner = _directories(store, directory)
    for place in (directory, *(store.join(directory, name) for name in inner[:_SHOWN])):
        unpacked = _unpacked(store, place)
        if unpacked is not None:
            return unpacked
    downloads = _downloads(store, directory)
    if downloads:
        what, hint = downloads, "let the download finish, or start it again"
    else:
        from shardctl.source.directory.contents import contents  # noqa: PLC0415 - only for this message

        held = contents(store, directory)
        what, hint = f": {held.what}", held.hint
    return MissingError(
        f"'{escape(directory)}' holds no checkpoint{what}", hint=hint, file=directory
    )


def _directories(store: Store, directory: str) -> list[str]:
    if store.kind(directory) != "directory":
        return []
    return [
        entry.name for entry in store.list(directory) if "directory" in (entry.kind, entry.target)
    ]


def _revision(store: Store, path: str) -> str | None:
    if store.kind(path) != "file":
        return None
    with store.open(path) as reader:
        data = reader.read(0, min(reader.version.size, _REVISION_BYTES))
    return data.decode("ascii", "replace").strip()


def _downloads(store: Store, directory: str) -> str:
    """Return what to say about unfinished downloads in a directory; nothing without any."""
    names = _unfinished(store, directory)
    if not names:
        return ""
    more = ", …" if len(names) > _SHOWN else ""
    listed = ", ".join(map(escape, names[:_SHOWN]))
    return f", but {plural(len(names), 'unfinished download')}: {listed}{more}"


def _unfinished(store: Store, directory: str) -> Sequence[str]:
    if store.kind(directory) != "directory":
        return ()
    return [entry.name for entry in store.list(directory) if entry.name.endswith(_UNFINISHED)]


def _unpacked(store: Store, directory: str) -> InputError | None:
    """Return the error for a directory that is a weights file whose archive was unpacked."""
    names = {entry.name for entry in store.list(directory)}
    for known in formats():
        if known.members and known.members <= names:
            parent, name = store.split(directory)
            return InputError(
                f"'{escape(directory)}' is an unpacked file of the format '{known.name}'",
                hint="pack it again, without compression, in the directory above it"
                f"{f' ({escape(parent)})' if parent else ''}: "
                f"zip -0 -r {escape(name)}{known.suffix} {escape(name)}",
                code="not-found",
                file=directory,
            )
    return None
