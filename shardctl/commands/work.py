"""Prepare what a writer does to SOURCE: one run, or for a pipeline one for each component.

The components of a pipeline are written into directories of the same names below the target, each
by a separate run, and the other files of the tree after them, `model_index.json` last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial

from shardctl.commands.companions import Beside, beside, check_directory, refuse_source
from shardctl.commands.prepare import Expect, anything, prepare, resolve
from shardctl.commands.prepared import Drawn, Prepared, Read, checked
from shardctl.commands.target import Route, Target
from shardctl.engine.interrupted import check_not_half_replaced
from shardctl.engine.records import NoRecords, Records
from shardctl.engine.space import Room
from shardctl.errors import UsageError
from shardctl.findings import Finding, in_one_line
from shardctl.formats.registry import writable
from shardctl.model import Checkpoint
from shardctl.naming import KNOWN_STEMS
from shardctl.planning.carried import NotCarried, notes_on
from shardctl.planning.plan import Plan
from shardctl.planning.request import Limits, Request, WriteOptions
from shardctl.source.locate import Located
from shardctl.source.pipeline import (
    MODEL_INDEX,
    Pipeline,
    about,
    find_pipeline,
    pipeline_findings,
)
from shardctl.stores.base import Store
from shardctl.stores.optional import followed
from shardctl.stores.paths import below, directories_above
from shardctl.text import escape, plural

#: The id of the plan that has no weights.
_NO_WEIGHTS = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Part:
    """One run. `name` is that of a component, "" for the other files of the tree.

    `has_weights` is false of those.
    """

    name: str
    prepared: Prepared
    has_weights: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """All that a writer has to do: the runs, in order.

    `source` and `target` are as they were given. `pipeline` is None where there is one run for the
    whole of SOURCE; `findings` are about it as a whole, and `left` is what of its tree the target
    will lack, besides what the runs name.
    """

    source: str
    target: str
    parts: tuple[Part, ...]
    pipeline: Pipeline | None = None
    left: tuple[NotCarried, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def weights(self) -> tuple[Part, ...]:
        """The runs that write weights."""
        return tuple(part for part in self.parts if part.has_weights)

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return all(part.prepared.up_to_date for part in self.parts)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before the work, with the components that it is about."""
        first = () if self.pipeline is None or self.pipeline.note is None else (self.pipeline.note,)
        return (
            *first,
            *map(in_one_line, self.findings),
            *(about(part.name, note) for part in self.parts for note in part.prepared.notes),
            *notes_on(self.left),
        )

    @property
    def room(self) -> Room:
        """The room for the new files of all runs together."""
        rooms = [part.prepared.room for part in self.parts]
        return Room(sum(each.needed for each in rooms), rooms[0].free)

    @staticmethod
    def named(part: Part, filename: str) -> str:
        """Return the name of a part's file in the target, with that of the component before it."""
        return f"{part.name}/{filename}" if part.name else filename

    def path(self, target_store: Store) -> str:
        """Return what a loader takes: of a pipeline its directory."""
        return self.target if self.pipeline else self.parts[0].prepared.path(target_store)


def _anything(_: str) -> Expect:
    return anything


def prepare_all(
    source_store: Store,
    source: str,
    target_store: Store,
    target: str,
    options: WriteOptions,
    *,
    finish: bool,
    compare: bool = True,
    records: Records | None = None,
    hold: Callable[[], AbstractContextManager[object]] = nullcontext,
    more_sources: Sequence[str] = (),
    expected: Callable[[str], Expect] = _anything,
) -> Work:
    """Prepare a checkpoint as `prepare` does, or all of a pipeline before anything is written.

    `expected` gives what is expected of each component, by its name; of a checkpoint that is "".
    Raises as `prepare` does, and UsageError where the tree of a pipeline is to go into one file.
    """
    records = NoRecords() if records is None else records

    prepared = partial(
        prepare,
        source_store=source_store,
        target_store=target_store,
        options=options,
        finish=finish,
        compare=compare,
        records=records,
        hold=hold,
        more_sources=more_sources,
    )
    pipeline = None if more_sources else find_pipeline(source_store, source)
    if pipeline is None:
        whole = prepared(source=source, target=target, expect=expected(""))
        return Work(source, target, (Part("", whole),))
    in_place = source_store == target_store and target_store.same(pipeline.directory, target)
    if source_store == target_store and not in_place:
        _refuse_within(source_store, pipeline.directory, target)
    check_not_half_replaced(source_store, pipeline.directory)
    with hold():
        place, _ = resolve(target_store, target, options, records, finish=finish)
    if place.filename is not None:
        raise _one_file(source_store, pipeline, target)
    tree = _Tree(source, pipeline, source_store, target_store, place)
    if options.stem is not None and options.stem not in KNOWN_STEMS:
        raise UsageError(
            f"no loader finds the components of a pipeline by the name '{escape(options.stem)}'",
            hint="leave out `name`: each component keeps the name that its library looks for",
        )
    if in_place:
        _refuse_in_place(options, target)
    parts = [
        Part(
            name,
            prepared(
                source=tree.source_of(name),
                target=tree.target_of(name),
                apart=tree.apart,
                expect=expected(name),
            ),
        )
        for name in tree.names
    ]
    around = tree.around(parts, options)
    findings = tuple(pipeline_findings(source_store, pipeline))
    if not around.companions:
        return Work(source, target, tuple(parts), pipeline, around.left, findings)
    rest = tree.rest(parts, around, options, records, compare=compare)
    every = (*parts, Part("", rest, has_weights=False))
    return Work(source, target, every, pipeline, findings=findings)


def _refuse_within(store: Store, directory: str, target: str) -> None:
    """Raise UsageError where the tree is to go into itself.

    It may be one of its components that would be replaced, and what lies around the target would
    not reach it.
    """
    if any(
        store.same(above, directory) for above in directories_above(store, followed(store, target))
    ):
        raise UsageError(
            f"the target '{escape(target)}' is within the pipeline that is read",
            hint="choose a target outside of it, or name one of its components as the source",
            file=target,
        )


def _refuse_in_place(options: WriteOptions, target: str) -> None:
    """Raise UsageError for what cannot go on in place, where components are replaced in turn.

    After an interruption nothing in a component says whether it has its new names yet, its experts
    are stacked, or its state dict was taken.
    """
    names = options.selection
    renames = names.strip_prefix or names.add_prefix or names.rename
    if renames or options.experts or options.key:
        what = "get new names" if renames else "be made of other parts"
        raise UsageError(
            f"the tensors of a pipeline cannot {what} in place",
            hint="choose another target, or replace its components one by one",
            file=target,
        )


def _one_file(store: Store, pipeline: Pipeline, target: str) -> UsageError:
    first = pipeline.path_of(store, pipeline.components[0].name)
    return UsageError(
        f"the target '{escape(target)}' is one file, and the source is a pipeline of "
        f"{plural(len(pipeline.components), 'component')}",
        hint="name a directory for the whole pipeline, or one of its components as the source: "
        f"{escape(first)}",
        file=target,
    )


@dataclass(frozen=True)  # without slots: what is made on first use needs a place
class _Tree:
    """A pipeline and where it goes."""

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
            Read(self.source, self.route(parts), Checkpoint("", (), ()), ()),
            Drawn(self.plan, around),
            self.target.directory,
            options,
            records,
            compare=compare,
        )
        # Where there is no file to copy there is no run, which would have nothing to commit.
        return found if found.changes.copies else replace(found, receipts=found.receipts or ())
