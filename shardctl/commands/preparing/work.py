"""Prepare what a writer does to SOURCE: one run, or for a pipeline one for each component.

The components of a pipeline are written into directories of the same names below the target, each
by a separate run, and the other files of the tree after them, `model_index.json` last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from shardctl.commands.preparing.prepare import Expect, anything, prepare, resolve
from shardctl.commands.preparing.tree import Part, Tree
from shardctl.engine.entry import refuse_other_run
from shardctl.engine.journal.interrupted import check_not_half_replaced
from shardctl.engine.journal.records import NoRecords, Records
from shardctl.engine.space import Room
from shardctl.errors import UsageError
from shardctl.findings import Finding, in_one_line
from shardctl.formats.registry import by_name
from shardctl.naming import KNOWN_STEMS
from shardctl.planning.carried import NotCarried, notes_on
from shardctl.planning.request import WriteOptions
from shardctl.source.pipeline.components import Pipeline, about, find_pipeline
from shardctl.source.pipeline.model_index import pipeline_findings
from shardctl.stores.base import Store
from shardctl.stores.optional import followed
from shardctl.stores.paths import directories_above
from shardctl.text import escape, plural


@dataclass(frozen=True, slots=True)
class Work:
    """All that a writer has to do: the runs, in order.

    `source` and `target` are as they were given. `pipeline` is None where there is one run for the
    whole of SOURCE; `findings` and `said` are about it as a whole, and `left` is what of its tree
    the target will lack, besides what the runs name.
    """

    source: str
    target: str
    parts: tuple[Part, ...]
    pipeline: Pipeline | None = None
    left: tuple[NotCarried, ...] = ()
    findings: tuple[Finding, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def weights(self) -> tuple[Part, ...]:
        """The runs that write weights."""
        return tuple(part for part in self.parts if part.has_weights)

    @property
    def todo(self) -> tuple[Part, ...]:
        """The runs that have something to do."""
        return tuple(part for part in self.parts if not part.prepared.up_to_date)

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return not self.todo

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before the work, with the components that it is about."""
        first = () if self.pipeline is None or self.pipeline.note is None else (self.pipeline.note,)
        return (
            *first,
            *map(in_one_line, self.findings),
            *(about(part.name, note) for part in self.parts for note in part.prepared.notes),
            *self.said,
            *notes_on(self.left),
        )

    @property
    def room(self) -> Room:
        """The room for the new files of all runs together."""
        rooms = [part.prepared.room for part in self.parts]
        return Room(sum(each.needed for each in rooms), rooms[0].free)

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
    with hold():
        place, _ = resolve(target_store, target, options, records, finish=finish)
    check_not_half_replaced(source_store, pipeline.directory)
    if place.filename is not None:
        raise _one_file(source_store, pipeline, target)
    tree = Tree(source, pipeline, source_store, target_store, place)
    if options.stem is not None and options.stem not in KNOWN_STEMS:
        raise UsageError(
            f"no loader finds the components of a pipeline by the name '{escape(options.stem)}'",
            hint="leave out `name`: each component keeps the name that its library looks for",
        )
    if options.format is not None and by_name(options.format).is_in_pieces:
        raise UsageError(
            f"no loader of a pipeline reads files of the format '{options.format}'",
            hint="choose another `format`, or name one of the components as the source",
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
    left = around.left
    if around.companions:
        rest = tree.rest(parts, around, options, records, compare=compare)
        parts.append(Part("", rest, has_weights=False))
        left = ()
    listed = tree.with_sums(parts, options)
    findings = pipeline_findings(source_store, pipeline)
    return Work(source, target, listed.parts, pipeline, left, findings, listed.notes)


def refuse_unfinished(store: Store, work: Work, *, restart: bool) -> None:
    """Raise as `engine.run.execute` does where one of several runs could not begin.

    That is where another one is at work in its directory of the target, or was not finished there
    and is not to be discarded by `restart`. Each run looks for itself as well.
    """
    looked = set[str]()
    for part in work.todo:
        directory = part.prepared.target.directory
        if directory not in looked:
            refuse_other_run(store, directory, part.prepared.identity, restart=restart)
        looked.add(directory)


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
