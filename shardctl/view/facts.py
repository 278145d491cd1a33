"""What a plan means for the target, in words: where to, its room, companions, and new names."""

from __future__ import annotations

from collections.abc import Iterator

from shardctl.commands.prepare import Prepared
from shardctl.sizes import format_size
from shardctl.text import escape, plural

_SHOWN = 10


def facts(prepared: Prepared) -> Iterator[str]:
    """Yield a line for each; what is replaced and what is not copied is in the plan's notes."""
    yield f"target: {escape(prepared.target_text)}"
    yield f"room: {_room(prepared)}"
    yield f"companions: {_companions(prepared)}"
    yield from _renamed(prepared)


def _renamed(prepared: Prepared) -> Iterator[str]:
    source = prepared.checkpoint
    before = {*(tensor.name for tensor in source.tensors), *source.aliases}
    written = (tensor.name for shard in prepared.plan.shards for tensor in shard.tensors)
    renamed = [name for name in written if name not in before]
    if renamed:
        yield f"renamed: {plural(len(renamed), 'tensor')}, the first to '{escape(renamed[0])}'"


def _room(prepared: Prepared) -> str:
    room = prepared.room
    free = "free space unknown" if room.free is None else f"{format_size(room.free)} free"
    shared = prepared.shared_block is not None
    less = ", less for blocks that are shared with the source" if shared else ""
    return f"{format_size(room.needed)} needed{less}; {free}"


def _companions(prepared: Prepared) -> str:
    names = prepared.companions
    if not names:
        return "none"
    more = ", …" if len(names) > _SHOWN else ""
    some = ", ".join(map(escape, names[:_SHOWN]))
    present = len(names) - len(prepared.changes.copies)
    there = f" ({present:,} there already)" if present else ""
    return f"{plural(len(names), 'file')}{there}: {some}{more}"
