"""A plan that was saved: read, and compared with the source that is there now.

Headers and names are compared before anything is planned, so that a source that has changed is not
told as an option that does not fit. A file is known by its contents, not by its inode or its times:
another machine sees it through another mount, or has a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import zip_longest

from shardctl.commands.preparing.prepare import Expect
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.tree import Part
from shardctl.commands.preparing.work import Work, prepare_all
from shardctl.commands.target.resolve import Route
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.journal.records import Records
from shardctl.engine.journal.sample import sample_file
from shardctl.errors import FormatError, SourceChangedError, UsageError
from shardctl.formats.limits import MAX_PLAN_BYTES
from shardctl.model import Checkpoint, Version
from shardctl.planning.request import WriteOptions, option_differences, options_of
from shardctl.planning.saved.plan_file import (
    PlanFile,
    PlannedFile,
    PlannedRun,
    parse_plan_file,
)
from shardctl.planning.saved.plan_keys import SAMPLE, SERVER_VERSION
from shardctl.source.locate import Located
from shardctl.source.recorded.checksum_file import sums_for
from shardctl.source.recorded.digests import is_sha256, recorded_digests
from shardctl.stores.base import Store
from shardctl.stores.capabilities import Remote
from shardctl.stores.paths import below
from shardctl.text import escape, plural


def read_plan_file(store: Store, path: str) -> PlanFile:
    """Return the plan that a file holds.

    Raises MissingError, InputError for what is not a file, FormatError (`plan-invalid`), and
    StorageError.
    """
    with store.open(path) as reader:
        size = reader.version.size
        if size > MAX_PLAN_BYTES:
            raise FormatError(
                f"'{escape(path)}' has {size:,} bytes, more than any plan",
                hint="give the file that `plan(save=path)` wrote",
                code="plan-invalid",
                file=path,
            )
        data = reader.read(0, size)
    return parse_plan_file(data, path)


def planned_sources(
    store: Store, located: Located, checkpoint: Checkpoint
) -> Iterator[PlannedFile]:
    """Yield the weights files of a source as a plan file has them; reads a little of each."""
    names = located.names(store)
    for file in checkpoint.files:
        content = _content(store, file.path, file.version)
        yield PlannedFile(names[file.path], file.version.size, file.header_sha256, content)


def planned_companions(store: Store, prepared: Prepared) -> Iterator[PlannedFile]:
    """Yield the companions of a run in the same way."""
    for name in prepared.companions:
        path = below(store, prepared.located.directory, name)
        version = prepared.sources[path]
        yield PlannedFile(name, version.size, "", _content(store, path, version))


def planned_beside(store: Store, work: Work) -> Iterator[PlannedFile]:
    """Yield the files of a pipeline that are in no component, in the same way."""
    for part in work.parts:
        if not part.has_weights:
            yield from planned_companions(store, part.prepared)


def _content(store: Store, path: str, version: Version) -> tuple[str, str]:
    sampled = sample_file(store, path, version.size)
    return (SERVER_VERSION, version.mark) if sampled is None else (SAMPLE, sampled)


def _expected(plan: PlanFile, store: Store, component: str) -> Expect:
    """Return what compares a source that was read with the one that a plan was made from.

    It raises SourceChangedError, as this does for a component that the plan has not.
    """
    run = plan.runs.get(component)
    if run is None:
        raise _changed(component, "is not in the plan")
    return partial(_expect, run, store)


def _expect(
    run: PlannedRun,
    store: Store,
    located: Located,
    checkpoint: Checkpoint,
    completed: RunIdentity | None = None,
) -> None:
    if _is_of_plan(completed, run):
        return  # in place its own source is gone by now: `_check` looks at it
    names = located.names(store)
    headers = [
        PlannedFile(names[file.path], file.version.size, file.header_sha256, ("", ""))
        for file in checkpoint.files
    ]
    _refuse_other(run.sources, headers)
    _refuse_other(run.sources, planned_sources(store, located, checkpoint))


def known_contents(run: PlannedRun) -> dict[str, Version]:
    """Return what a plan says of the contents of its files, by name, as a shared run knows them."""
    return {
        file.name: Version(file.size, f"{file.header_sha256} {' '.join(file.content)}".strip())
        for file in (*run.sources, *run.companions)
    }


def _is_of_plan(completed: RunIdentity | None, run: PlannedRun) -> bool:
    """Whether a run was one of the plan's, by parts: only such a one knows contents, as a plan."""
    return (
        completed is not None
        and completed.shared
        and completed.plan_id == run.plan_id
        and completed.sources == known_contents(run)
    )


def prepare_planned(
    plan: PlanFile,
    source_store: Store,
    sources: Sequence[str],
    target_store: Store,
    target: str,
    options: WriteOptions,
    *,
    records: Records,
    hold: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Work:
    """Prepare what a plan says, from these sources into this target.

    `options` are the plan's, with what may be replaced. Raises SourceChangedError where the source
    is not the one that the plan was made from, UsageError where the target does not fit the plan,
    and otherwise as `prepare_all`.
    """
    first, *more = sources
    work = prepare_all(
        source_store,
        first,
        target_store,
        target,
        options,
        finish=True,
        records=records,
        hold=hold,
        more_sources=more,
        expected=partial(_expected, plan, source_store),
    )
    _check(plan, work, source_store, target_store)
    return replace(work, parts=tuple(_noted(plan, part, source_store) for part in work.parts))


def _check(plan: PlanFile, work: Work, source_store: Store, target_store: Store) -> None:
    """Raise SourceChangedError or UsageError where what was prepared is not what was planned."""
    missing = sorted(plan.runs.keys() - {part.name for part in work.weights})
    if missing:
        raise _changed(missing[0], "is in the plan, and not in the source")
    for part in work.weights:
        run, prepared = plan.runs[part.name], part.prepared
        if _is_of_plan(prepared.completed, run):
            route = Route(source_store, prepared.located, target_store, prepared.target)
            if route.in_place and prepared.up_to_date:
                continue  # what was read is the plan's own result, which was just completed
            _expect(run, source_store, prepared.located, prepared.checkpoint)
        if prepared.plan.id != run.plan_id:
            raise _other_plan(run, prepared)
        _refuse_other(run.companions, planned_companions(source_store, prepared))
    _refuse_other(plan.beside, planned_beside(source_store, work))


def _noted(plan: PlanFile, part: Part, store: Store) -> Part:
    """Return a run with the note on what could not be compared with the plan.

    A plan knows the contents of a file by samples, or by the version that a server gave it: of a
    file that was read on a server, and of a local copy of it, neither is the other's. Where both a
    server and a copy have a SHA-256, these are compared. Raises SourceChangedError.
    """
    if not part.has_weights:
        return part
    run, prepared = plan.runs[part.name], part.prepared
    remote = isinstance(store, Remote)
    kind = SERVER_VERSION if remote else SAMPLE
    others = {
        each.name: each.content[1]
        for each in (*run.sources, *run.companions)
        if each.content[0] != kind
    }
    if not others:
        return part
    equal = 0 if remote else _equal_digests(others, prepared, store)
    was, now = ("files", "a URL") if remote else ("a URL", "files")
    note = (
        f"the plan was made from {was}, and is applied to {now}: of "
        f"{plural(len(others), 'file')} it was compared with the sizes and headers"
        + (f", and with the SHA-256 recorded for {equal:,} of them" if equal else " alone")
    )
    return replace(part, prepared=replace(prepared, notes=(note, *prepared.notes)))


def _equal_digests(marks: Mapping[str, str], prepared: Prepared, store: Store) -> int:
    """Return of how many files the SHA-256 recorded here is the mark that a server gave them.

    `marks` are by name. Raises SourceChangedError where one is another.
    """
    located = prepared.located
    names = located.names(store)
    files = {file.path: names[file.path] for file in prepared.checkpoint.files}
    files |= {below(store, located.directory, name): name for name in prepared.companions}
    sums = sums_for(store, located.directory, files.values())
    found = recorded_digests(store, located.directory, files, sums)
    equal = 0
    for path, name in files.items():
        mark = marks.get(name, "")
        if is_sha256(mark) and found[path]:
            other = next((each for each in found[path] if each.sha256 != mark), None)
            if other is not None:
                raise _changed(name, f"has other contents: so says {other.where}")
            equal += 1
    return equal


def _refuse_other(planned: Iterable[PlannedFile], found: Iterable[PlannedFile]) -> None:
    """Raise SourceChangedError for the first file that differs."""
    for was, now in zip_longest(planned, found):
        if was is None:
            raise _changed(now.name, "is not in the plan")
        if now is None or was.name != now.name:
            raise _changed(was.name, "is in the plan, and is not read now")
        if was.size != now.size:
            raise _changed(was.name, f"has {now.size:,} bytes, and had {was.size:,}")
        if was.header_sha256 != now.header_sha256:
            raise _changed(was.name, "has another header")
        same_kind = was.content[0] == now.content[0]
        if same_kind and was.content != now.content:
            raise _changed(was.name, "has other contents")


def _changed(name: str, what: str) -> SourceChangedError:
    return SourceChangedError(
        f"the source is not the one that the plan was made from: '{escape(name)}' {what}",
        hint="name the source that it was made from, or make the plan again by `plan(save=path)`",
        file=name,
    )


def _other_plan(run: PlannedRun, prepared: Prepared) -> UsageError:
    """Return the error for the same source, of which another plan follows."""
    now = {**options_of(prepared.plan.request)}
    differences = "; ".join(option_differences(run.recorded, now))
    return UsageError(
        "the plan does not fit this source and target"
        + (f": {differences}" if differences else ": its id is that of other files"),
        hint="name a target of the same kind, a directory or a file of the same name, or make the "
        "plan again by `plan(save=path)`",
        file=prepared.target_text,
    )
