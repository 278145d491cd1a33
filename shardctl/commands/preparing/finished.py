"""Whether the result of a run is there already: by its record, or by comparing contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shardctl.commands.preparing.tasks import tasks_of
from shardctl.commands.target.companion import Companion
from shardctl.commands.target.resolve import Route
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.records import RunRecord
from shardctl.engine.sources import Sources
from shardctl.engine.task import compared, digest
from shardctl.errors import FormatError
from shardctl.model import Version
from shardctl.planning.plan import Plan
from shardctl.planning.request import WriteOptions
from shardctl.source.recorded.checksum_file import read_checksums
from shardctl.stores.base import Copied, Store
from shardctl.stores.paths import below
from shardctl.streams.progress import no_tick


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run would write, to be compared with what is there.

    `companions` are by name; `sources` the versions of all files that would be read, by path.
    """

    route: Route
    plan: Plan
    identity: RunIdentity
    companions: Mapping[str, Companion]
    sources: Mapping[str, Version]
    options: WriteOptions

    def by_record(self, record: RunRecord | None) -> tuple[Receipt, ...] | None:
        """Return the receipts of the last run, if its record proves that nothing is left to do."""
        identity = self.identity
        if record is None or record.options != identity.options:
            return None
        for name, version in record.written.items():
            if self._version(name) != version:
                return None
        for name, companion in self.companions.items():
            there = self._version(name)
            if there is None or there.size != self._nbytes(companion):
                return None
        # A set that was replaced in place is the source of the next run.
        replaced = self.route.in_place and identity.sources.items() <= record.written.items()
        same = record.plan_id == identity.plan_id and record.sources == identity.sources
        if not replaced and not same:
            return None
        return tuple(
            Receipt(name, version.size, record.sha256.get(name), Copied())
            for name, version in record.written.items()
        )

    def by_contents(self) -> tuple[Receipt, ...] | None:
        """Return receipts of the files that are there, where they are those that would be written.

        Their sizes are looked at first, then all bytes are compared with the sources, which ends at
        the first difference. Raises FormatError for a damaged source, unless damage is accepted.
        """
        plan, store = self.plan, self.route.target_store
        sizes = {shard.filename: shard.size for shard in plan.shards}
        if plan.index is not None and plan.index_filename is not None:
            sizes[plan.index_filename] = len(plan.index)
        sizes |= {name: self._nbytes(each) for name, each in self.companions.items()}
        for name, size in sizes.items():
            there = self._version(name)
            if there is None or there.size != size:
                return None
        directory = self.route.target.directory
        sums = _recorded(store, directory)
        receipts: list[Receipt] = []
        tasks = tasks_of(
            plan,
            self.companions,
            self.sources,
            lambda name: below(store, directory, name),
            read_back=self.options.read_back,
            accept_damage=self.options.accept_damage,
        )
        with Sources(self.route.source_store, self.sources) as sources:
            for task in tasks:
                damaged = compared(task, store, sources)
                if damaged is None:
                    return None
                sha256 = sums.get(task.filename)
                wanted = self.options.checksums and task.filename not in self.companions
                if wanted and sha256 != digest(store, task.staged, no_tick):
                    return None
                places = tuple(each.place for each in damaged)
                receipts.append(
                    Receipt(task.filename, task.layout.nbytes, sha256, Copied(), places)
                )
        return tuple(receipts)

    def _nbytes(self, companion: Companion) -> int:
        return companion.nbytes(self.sources[companion.path].size)

    def _version(self, name: str) -> Version | None:
        store = self.route.target_store
        path = below(store, self.route.target.directory, name)
        return store.version(path) if store.kind(path) == "file" else None


def _recorded(store: Store, directory: str) -> Mapping[str, str]:
    """What `SHA256SUMS` says; nothing where it is too large to be read, which leaves it alone."""
    try:
        return read_checksums(store, directory) or {}
    except FormatError:
        return {}
