"""Write or repair an index from the shards' headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from shardctl.columns import rows_of
from shardctl.commands.shards import refuse_lost, refuse_other_tensors, shards_of
from shardctl.commands.target.resolve import unlocked_notes
from shardctl.commands.target.sums import stale_notes
from shardctl.engine.commit.staging import Staging
from shardctl.engine.found import find_checkpoint
from shardctl.engine.journal.journal import LOCK
from shardctl.errors import InputError, TargetExistsError, UsageError
from shardctl.findings import Finding, as_error, ignore
from shardctl.formats.index import build_index, parse_index, too_large
from shardctl.formats.registry import by_name
from shardctl.model import Index
from shardctl.naming import index_filename
from shardctl.source.locate import Located
from shardctl.source.opened import Opened, unseen
from shardctl.source.read import read_checkpoint
from shardctl.source.recorded.checksum_file import Sums, sums_around, sums_of
from shardctl.storages import used_bytes
from shardctl.stores.atomic import put_beside
from shardctl.stores.base import Store
from shardctl.stores.optional import lock, refuse_read_only
from shardctl.text import escape, plural
from shardctl.weight_map import names_by_shard

#: Suffix of an index that could not be read.
BACKUP = ".bak"
#: Findings that a new index repairs, and that therefore do not prevent it.
_REPAIRED = {
    "index-missing",
    "index-invalid",
    "index-duplicate-key",
    "index-metadata-missing",
    "index-shard-missing",
    "index-tensor-missing",
    "index-tensor-misplaced",
    "index-tensor-unlisted",
    "shard-unlisted",
    "shard-name-unsafe",
}


@dataclass(frozen=True, slots=True)
class Reindexed:
    """An index made from the shards' headers.

    `path` is where it belongs, `changes` how it differs from the index that is there. `kept` is the
    contents of one that cannot be read: there may be something to learn from it. `notes` are for
    the user to know once it is written.
    """

    path: str
    data: bytes
    changes: tuple[str, ...]
    kept: bytes | None = None
    notes: tuple[str, ...] = ()


def make_index(
    store: Store, source: str, opened: Opened = unseen, variant: str | None = None
) -> Reindexed:
    """Make the index of a set of shards from their headers; write nothing.

    `variant` chooses one of several sets in a directory.
    Raises UsageError for a checkpoint of one file, and for one whose files hold slices of tensors,
    which no index can describe; InputError where shards are missing, contradict each other or hold
    no tensors.
    """
    located = find_checkpoint(store, source, variant=variant)
    if located.distributed is not None:
        raise UsageError(
            f"'{located.root}' holds slices of tensors that several processes saved, and an index "
            "names whole tensors",
            hint="write them as shards with `write`, which adds the index",
            file=located.root,
        )
    files = shards_of(store, located)
    if not files:
        raise InputError(
            f"no weights files belong to '{located.index_path or located.root}': it lists none "
            "that can be read, and no numbered file has the name of its set",
            hint="name a directory with several shards, or fetch the index again",
            code="index-invalid",
            file=located.index_path,
        )
    if len(files) < 2 and not located.is_set:
        raise UsageError(
            f"'{located.root}' is one file, which needs no index",
            hint="name a directory with several shards",
        )

    def report(finding: Finding) -> None:
        if finding.severity == "error" and finding.code not in _REPAIRED:
            raise as_error(finding)

    names = located.names(store)
    whole = replace(located, files=files, unlisted=(), findings=())
    checkpoint = read_checkpoint(store, whole, report, opened=opened)
    if not checkpoint.tensors:
        raise InputError(
            f"the {plural(len(files), 'file')} of '{located.root}' hold no tensors",
            hint="fetch the shards again; an index of no tensors would be of no use",
            code="no-tensors",
            file=located.root,
        )
    suffix = located.suffix or by_name(checkpoint.format).suffix
    path = located.index_path or store.join(
        located.directory, index_filename(located.stem, suffix, located.variant)
    )
    held = {name: names[path] for name, _, path, _ in rows_of(checkpoint.tensors)}
    stale = _stale(store, located, path)
    refuse_lost(located, held, checkpoint.aliases)
    refuse_other_tensors(stale, held, checkpoint.aliases)
    total = used_bytes(checkpoint.tensors)
    recorded = {} if located.index is None else located.index.metadata
    metadata = {**recorded, **checkpoint.aliases, "total_size": total}
    data = build_index(metadata, names_by_shard(held))
    old = _contents(store, path)
    known = located.index or stale
    changes = tuple(_changes(known, old, data, held, total, checkpoint.aliases))
    kept = old if known is None else None
    name = store.split(path)[1]
    notes = [*stale_notes(_lists(store, path), {name})] if changes else []
    if changes and kept is not None:
        notes.append(f"the old index is kept as '{escape(name)}{BACKUP}'")
    return Reindexed(path, data, changes, kept, tuple(notes))


def _lists(store: Store, path: str) -> Iterator[Sums]:
    """Yield each `SHA256SUMS` that may list a file."""
    directory = store.split(path)[0]
    yield from sums_of(store, directory)
    yield from sums_around(store, directory)


def _stale(store: Store, located: Located, path: str) -> Index | None:
    """Return the index that is replaced though none of its files is there; None without one."""
    data = _contents(store, path) if path in located.stale else None
    return None if data is None else parse_index(data, path, ignore)


def _contents(store: Store, path: str) -> bytes | None:
    if store.kind(path) != "file":
        return None
    with store.open(path) as reader:
        size = reader.version.size
        excess = too_large(size, path)
        if excess is not None:
            # Neither compared nor kept beside the new one: both would take all of it in memory.
            hint = "move it away, and run the command again"
            raise as_error(replace(excess, hint=hint))
        return reader.read(0, size)


def write_index(store: Store, made: Reindexed) -> None:
    """Write the index to its path, in one durable step; what is `kept` gets the suffix `.bak`.

    Raises TargetExistsError where that name is taken by other contents, and StorageError.
    """
    directory, name = store.split(made.path)
    if made.kept is not None:
        _keep(store, directory, f"{name}{BACKUP}", made.kept)
    put_beside(store, directory, name, made.data)


def _keep(store: Store, directory: str, name: str, data: bytes) -> None:
    path = store.join(directory, name)
    if store.kind(path) is None:
        put_beside(store, directory, name, data)
        return
    if store.kind(path) == "file":
        with store.open(path) as reader:
            if reader.version.size == len(data) and reader.read(0, len(data)) == data:
                return
    raise TargetExistsError(
        f"'{path}' exists, and the old index would be kept under that name",
        hint="move it away",
        file=path,
    )


def _changes(
    index: Index | None,
    old: bytes | None,
    new: bytes,
    held: Mapping[str, str],
    total: int,
    aliases: Mapping[str, str],
) -> Iterator[str]:
    if old is None:
        yield "the index is missing"
        return
    if old == new:
        return
    if index is None:
        yield "the index cannot be read"
        return
    listed = index.weight_map
    for what, some in (
        ("not listed", [name for name in held if name not in listed]),
        ("listed though only recorded as tied", [name for name in listed if name not in held]),
        (
            "in another shard than listed",
            [name for name in held if listed.get(name, held[name]) != held[name]],
        ),
    ):
        if some:
            yield f"{plural(len(some), 'tensor')} {what}, the first is '{escape(some[0])}'"
    recorded = index.metadata
    absent = [name for name, kept in aliases.items() if recorded.get(name) != kept]
    if absent:
        names = plural(len(absent), "name")
        yield f"{names} of tied tensors not recorded, the first is '{escape(absent[0])}'"
    if recorded.get("total_size") != total:
        yield f"total_size is {recorded.get('total_size')!r}, and should be {total}"
    yield "the file's form (order of keys, white space)"


def reindex(
    store: Store,
    source: str,
    *,
    check: bool,
    opened: Opened = unseen,
    variant: str | None = None,
) -> Reindexed:
    """Make the index of a set of shards, and write it where it differs; not with `check`.

    `variant` chooses one of several sets in a directory.
    `opened` is called for each file whose header is read.
    """
    made = make_index(store, source, opened, variant)
    if check or not made.changes:
        return made
    refuse_read_only(store, made.path)
    directory = source if store.kind(source) == "directory" else store.split(source)[0]
    with Staging.make(store, directory) as staging:
        try:
            with lock(store, staging.path(LOCK)):
                # Another run may have replaced the shards since their headers were read.
                made = make_index(store, source, variant=variant)
                if made.changes:
                    write_index(store, made)
        finally:
            staging.remove()
    return replace(made, notes=(*unlocked_notes(store), *made.notes))
