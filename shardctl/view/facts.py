"""What a plan means for the target, in words: where to, its room, companions, and new names."""

from __future__ import annotations

from collections.abc import Iterator

from shardctl.columns import names_of
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.preparing.work import Work
from shardctl.sizes import format_size
from shardctl.text import escape, plural

_SHOWN = 10


def facts(work: Work) -> Iterator[str]:
    """Yield a line for each; what is replaced and what is not copied is in the plan's notes."""
    yield f"target: {escape(work.target)}"
    yield f"room: {_room(work)}"
    yield f"companions: {_companions(work)}"
    yield from _renamed(work)


def _renamed(work: Work) -> Iterator[str]:
    renamed = [name for part in work.weights for name in _new_names(part.prepared)]
    if renamed:
        yield f"renamed: {plural(len(renamed), 'tensor')}, the first to '{escape(renamed[0])}'"


def _new_names(prepared: Prepared) -> Iterator[str]:
    source, request = prepared.checkpoint, prepared.plan.request
    if not request.selection and request.experts is None:  # nothing else renames
        return
    before = {*names_of(source.tensors), *source.aliases}
    for shard in prepared.plan.shards:
        yield from (name for name in names_of(shard.tensors) if name not in before)


def _room(work: Work) -> str:
    room = work.room
    free = "free space unknown" if room.free is None else f"{format_size(room.free)} free"
    shared = any(part.prepared.shared_block is not None for part in work.parts)
    less = ", less for blocks that are shared with the source" if shared else ""
    return f"{format_size(room.needed)} needed{less}; {free}"


def _companions(work: Work) -> str:
    names = [part.named(name) for part in work.parts for name in part.prepared.companions]
    if not names:
        return "none"
    more = ", …" if len(names) > _SHOWN else ""
    some = ", ".join(map(escape, names[:_SHOWN]))
    present = len(names) - sum(len(part.prepared.changes.copies) for part in work.parts)
    there = f" ({present:,} there already)" if present else ""
    return f"{plural(len(names), 'file')}{there}: {some}{more}"
