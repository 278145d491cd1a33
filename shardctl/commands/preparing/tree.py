"""The tree of a pipeline: where its parts go, and the runs that write no weights.

Those are one for the files that are in no component, after all others, and one before all others,
which removes the lines of what will be replaced from each `SHA256SUMS` above the components: so
none of these lists a file that was replaced, whenever the work is interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from shardctl.checksums import CHECKSUMS
from shardctl.commands.preparing.prepared import Drawn, Prepared, Read, checked
from shardctl.commands.target.changes import Changes
from shardctl.commands.target.companions import Beside, beside, check_directory, refuse_source
from shardctl.commands.target.resolve import Route, Target
from shardctl.commands.target.sums import kept_sums, stale_notes, sums_above, sums_notes
from shardctl.engine.commit.guards import Surroundings
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.records import Records
from shardctl.engine.space import room
from shardctl.formats.registry import writable
from shardctl.model import Checkpoint
from shardctl.planning.plan import Plan
from shardctl.planning.request import Limits, Request, WriteOptions, options_of
from shardctl.source.locate import Located
from shardctl.source.pipeline.components import MODEL_INDEX, Pipeline
from shardctl.source.recorded.checksum_file import sums_around
from shardctl.stores.base import Store
from shardctl.stores.paths import below

#: The id of the plan that has no weights.
_NO_WEIGHTS = hashlib.sha256(b"").hexdigest()
_NOTHING = Checkpoint("", (), ())


@dataclass(frozen=True, slots=True)
class Part:
    """One run. `name` is that of a component, "" for the other files of the tree.

    `has_weights` is false of those.
    """

    name: str
    prepared: Prepared
    has_weights: bool = True

    @property
    def has_files(self) -> bool:
        """Whether it writes files other than `SHA256SUMS`."""
        return bool(self.prepared.plan.shards or self.prepared.changes.copies)

    def named(self, filename: str) -> str:
        """Return the name of a file in the target, with that of the component before it."""
        return f"{self.name}/{filename}" if self.name else filename


@dataclass(frozen=True, slots=True)
class Listed:
    """The runs, with what each makes of the `SHA256SUMS` of the tree, and notes on these."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)  # without slots: what is made on first use needs a place
class Tree:
    """A pipeline and where it goes: the runs for its tree."""

    source: str
    pipeline: Pipeline
    source_store: Store
    target_store: Store
    target: Target

    @property
    def names(self) -> list[str]:
        """The names of the components."""
        return [component.name for component in self.pipeline.components]

    def source_of(self, name: str) -> str:
        """Return the path of a component."""
        return self.pipeline.path_of(self.source_store, name)

    def target_of(self, name: str) -> str:
        """Return where a component goes.

        Raises TargetExistsError where a link or a file has its name, or that of one above it, and
        UsageError where that is the source.
        """
        parts, route = name.split("/"), self.route(())
        for length in range(1, len(parts) + 1):
            above = "/".join(parts[:length])
            check_directory(self.target_store, self.target.directory, above)
            refuse_source(route, above)
        return below(self.target_store, self.target.directory, name)

    @cached_property
    def apart(self) -> frozenset[str]:
        """The paths of the components, each of which is written by a separate run."""
        return frozenset(map(self.source_of, self.names))

    @cached_property
    def plan(self) -> Plan:
        """The plan of the run that writes no weights."""
        request = Request(Limits(), writable()[0].name, suffix="", stem="")
        return Plan(_NO_WEIGHTS, request, (), None, None)

    def route(self, parts: Sequence[Part]) -> Route:
        """Return the route of the files that are in no component."""
        files = tuple(path for part in parts for path in part.prepared.located.files)
        located = Located(self.source, self.pipeline.directory, files, "", is_directory=True)
        return Route(self.source_store, located, self.target_store, self.target)

    def around(self, parts: Sequence[Part], options: WriteOptions) -> Beside:
        """Return which of these files go along, `model_index.json` last."""
        found = beside(self.route(parts), self.plan, options, read=(), apart=self.apart)
        ordered = sorted(found.companions.items(), key=lambda item: item[0] == MODEL_INDEX)
        return replace(found, companions=dict(ordered))

    def rest(
        self,
        parts: Sequence[Part],
        around: Beside,
        options: WriteOptions,
        records: Records,
        *,
        compare: bool,
    ) -> Prepared:
        """Prepare the run for these files."""
        found = checked(
            Read(self.source, self.route(parts), _NOTHING, (), apart=self.apart),
            Drawn(self.plan, around),
            self.target.directory,
            options,
            records,
            compare=compare,
        )
        # Where there is no file to copy there is no run, which would have nothing to commit.
        return found if found.changes.copies else replace(found, receipts=found.receipts or ())

    def with_sums(self, parts: Sequence[Part], options: WriteOptions) -> Listed:
        """Let every `SHA256SUMS` of the tree lose the lines of what the runs write or replace.

        Each run of a component edits the one in its directory, together with its files; what is
        above them is edited by a run before all others.
        """
        store, directory = self.target_store, self.target.directory
        todo = [part for part in parts if not part.prepared.up_to_date]
        gone = {part.named(name) for part in todo for name in part.prepared.changes.gone}
        seen = Surroundings.of(store, directory, sums_above(gone), weights=False)
        kept = kept_sums(store, directory, gone, wanted=False)
        data = dict(kept.data)
        said = {
            part.named(name)
            for part in todo
            for name in (*part.prepared.changes.edited_sums, *part.prepared.changes.foreign_sums)
        }
        edited = [name for name in kept.edited if name not in said]
        notes = (
            *sums_notes(edited, (name for name in kept.foreign if name not in said)),
            *stale_notes(sums_around(store, directory), gone),
        )
        # What is left of `data` when the components have taken theirs is above them.
        weights = [_with_own_sums(part, data) for part in parts if part.has_weights]
        rest = [_without_sums(part, data) for part in parts if not part.has_weights]
        first = [Part("", self._of_sums(data, seen, options), has_weights=False)] if data else []
        return Listed((*first, *weights, *rest), notes)

    def _of_sums(
        self, data: Mapping[str, bytes], seen: Surroundings, options: WriteOptions
    ) -> Prepared:
        """Prepare the run that writes nothing but these files of checksums, by name."""
        digest = hashlib.sha256()
        for name, kept in sorted(data.items()):
            digest.update(f"{name}\n{hashlib.sha256(kept).hexdigest()}\n".encode())
        plan = replace(self.plan, id=digest.hexdigest())
        return Prepared(
            source=self.source,
            target_text=self.target.directory,
            target=self.target,
            located=self.route(()).located,
            checkpoint=_NOTHING,
            plan=plan,
            options=options,
            identity=RunIdentity(plan.id, options_of(plan.request), {}),
            sources={},
            surroundings=seen,
            shared_block=None,
            companions=(),
            changes=Changes(sums=data),
            replaced_source=(),
            notes=(),
            not_carried=(),
            room=room(self.target_store, self.target.directory, sum(map(len, data.values()))),
            receipts=None,
        )


def _with_own_sums(part: Part, data: dict[str, bytes]) -> Part:
    """Return the run of a component with what it makes of the `SHA256SUMS` in its own directory.

    That is taken out of `data`, which has what stays of all of them.
    """
    prepared = part.prepared
    if prepared.up_to_date:
        return part
    own = {CHECKSUMS, *prepared.changes.sums}
    mine = {name: data.pop(part.named(name)) for name in own if part.named(name) in data}
    changes = replace(prepared.changes, sums={**prepared.changes.sums, **mine})
    return replace(part, prepared=replace(prepared, changes=changes))


def _without_sums(part: Part, data: Mapping[str, bytes]) -> Part:
    """Return the run for the files in no component, which edits no `SHA256SUMS`.

    Those in `data` will have changed before it begins.
    """
    prepared = part.prepared
    changes = replace(prepared.changes, sums={}, foreign_sums=())
    surroundings = prepared.surroundings.without(data)
    return replace(part, prepared=replace(prepared, changes=changes, surroundings=surroundings))
