"""What a run changes in the target beside the planned files, and what must not be changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shardctl.commands.target.companion import Companion
from shardctl.commands.target.companions import Beside, companions_to_copy
from shardctl.commands.target.replace import superseded
from shardctl.commands.target.resolve import Route, Target
from shardctl.commands.target.sums import kept_sums, sums_notes
from shardctl.errors import UsageError
from shardctl.model import Checkpoint
from shardctl.planning.plan import Plan
from shardctl.planning.request import WriteOptions
from shardctl.text import escape, plural

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run changes in the target beside the planned files.

    `copies` are companions, by name; `directories` are the sub-directories that companions lie in,
    by name with their paths in the source. `superseded` are the names that the new files replace or
    remove; `gone` are those and the names of all new files. `sums` is what stays of each
    `SHA256SUMS` that changes, by name; `edited_sums` are those that lose lines, `foreign_sums` are
    left alone, because they are signed, of another form or not a file. `kept` are companions that
    differ in the target, and stay.
    """

    copies: Mapping[str, Companion] = field(default_factory=dict)
    superseded: tuple[str, ...] = ()
    gone: frozenset[str] = frozenset()
    sums: Mapping[str, bytes] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    edited_sums: tuple[str, ...] = ()
    foreign_sums: tuple[str, ...] = ()
    directories: Mapping[str, str] = field(default_factory=dict)


def changes_of(route: Route, around: Beside, plan: Plan, options: WriteOptions) -> Changes:
    """Return what changes in the target; raise TargetExistsError for what must stay as it is."""
    companions = companions_to_copy(route, around, options)
    replaced = (
        *superseded(route, plan.request, plan.filenames, options.replace),
        *companions.replaced,
    )
    gone = frozenset((*replaced, *plan.filenames, *companions.copies))
    sums = kept_sums(route.target_store, route.target.directory, gone, wanted=options.checksums)
    return Changes(
        companions.copies,
        replaced,
        gone,
        sums.data,
        companions.kept,
        edited_sums=sums.edited,
        foreign_sums=sums.foreign,
        directories=companions.directories,
    )


def refuse_lost(
    target: Target,
    checkpoint: Checkpoint,
    plan: Plan,
    options: WriteOptions,
    replaced_source: Sequence[str],
) -> None:
    """Raise UsageError where a source is replaced by a part of it, and the rest would be gone.

    `replaced_source` are the files that are read and replaced.
    """
    if not replaced_source:
        return
    if plan.left_out:
        raise UsageError(
            f"{plural(len(plan.left_out), 'tensor')} that the selection leaves out would be lost: "
            f"'{escape(replaced_source[0])}' is read and replaced",
            hint="choose another target, look at the result, and then remove what you do not need",
            file=target.directory,
        )
    beside = (*checkpoint.beside, *(each for file in checkpoint.files for each in file.beside))
    if not beside or options.drop_non_tensors or options.companions == "none":
        return
    lost = ", ".join(escape(value.name) for value in beside[:_SHOWN])
    more = ", …" if len(beside) > _SHOWN else ""
    raise UsageError(
        f"replacing the source would lose what lies beside the weights: {lost}{more}",
        hint='choose another target, or add `drop_non_tensors` or `companions="none"` to lose it',
        file=target.directory,
    )


def replaced_notes(route: Route, changes: Changes) -> Iterator[str]:
    """Yield notes on what happens to the old files, for the user to know before the work."""
    if changes.kept:
        names = ", ".join(map(escape, changes.kept))
        yield f"kept in the target, though the source's differ: {names} (see `replace_companions`)"
    for name, companion in changes.copies.items():
        if companion.edits:
            yield f"in the copy of {escape(name)} the type of the weights is the new one"
    yield from sums_notes(changes.edited_sums, changes.foreign_sums)
    if not changes.superseded:
        return
    names = ", ".join(map(escape, changes.superseded))
    yield f"replaces {plural(len(changes.superseded), 'file')} in the target: {names}"
    deep = [name for name in route.located.names(route.source_store).values() if "/" in name]
    if deep and route.in_place:
        more = ", …" if len(deep) > 1 else ""
        yield f"the old shards in subdirectories stay: {escape(deep[0])}{more}"
