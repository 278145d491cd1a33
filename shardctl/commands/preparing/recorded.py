"""The SHA-256 that are recorded for the files of SOURCE, compared before anything is written."""

from __future__ import annotations

from collections.abc import Mapping

from shardctl.commands.target.resolve import Route
from shardctl.engine.task import digest
from shardctl.errors import FormatError
from shardctl.model import Checkpoint
from shardctl.planning.request import WriteOptions
from shardctl.source.recorded.checksum_file import sums_for
from shardctl.source.recorded.digests import Digest, recorded_digests
from shardctl.stores.base import Store
from shardctl.stores.capabilities import Remote
from shardctl.streams.pool import in_order
from shardctl.streams.progress import no_tick
from shardctl.text import escape, plural

#: The digests that are recorded for files, by path.
Recorded = Mapping[str, tuple[Digest, ...]]


def recorded_for(route: Route, checkpoint: Checkpoint, options: WriteOptions) -> Recorded:
    """Return the digests to compare: those of the files that are read, where `options` ask for it.

    There are some where what is written is read back, and where digests are taken of it,
    which would vouch for damage; none where damage is accepted, and where the source is across a
    network: its files would be fetched twice.
    """
    store, located = route.source_store, route.located
    asked = (options.read_back or options.checksums) and not options.accept_damage
    if not asked or isinstance(store, Remote):
        return {}
    names = located.names(store)
    files = {file.path: names[file.path] for file in checkpoint.files if file.path in names}
    sums = sums_for(store, located.directory, files.values())
    found = recorded_digests(store, located.directory, files, sums)
    return {path: digests for path, digests in found.items() if digests}


def note_on(recorded: Recorded) -> tuple[str, ...]:
    """Return the note on a comparison, which takes time before the first file is written."""
    if not recorded:
        return ()
    return (f"the SHA-256 recorded for {plural(len(recorded), 'file')} is compared first",)


def refuse_damaged(store: Store, recorded: Recorded, jobs: int) -> None:
    """Read files, and compare them with the digests recorded for them.

    Raises FormatError for the first that differs, and what reading raises.
    """
    paths = list(recorded)
    found = in_order(jobs, lambda path: digest(store, path, no_tick), paths)
    for path, sha256 in zip(paths, found, strict=True):
        for wanted in recorded[path]:
            if wanted.sha256 != sha256:
                raise FormatError(
                    f"'{escape(path)}': {wanted.where} says {wanted.sha256}, and the file has "
                    f"{sha256}",
                    hint="the file changed after that was recorded: fetch it again; or record the "
                    "new digest, if the change was meant; `accept_damage` writes it as it is",
                    code="digest-mismatch",
                    file=path,
                )
