"""Files as bars: how full each is, why a planned one ends, and all of them before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from shardctl.formats.base import Format
from shardctl.formats.registry import by_name
from shardctl.model import Checkpoint
from shardctl.planning.grouping.groups import units_of
from shardctl.planning.plan import Plan, Shard
from shardctl.planning.request import Limits
from shardctl.text import escape
from shardctl.view.shares import Share, shares

_RowT = TypeVar("_RowT")


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a planned file ends: `tensor`, of `nbytes`, did not fit into the `room` left in it.

    Where `alone`, the tensor is in this file and makes it larger than the limit: `nbytes` are the
    bytes in the file, and `room` is the limit.
    """

    tensor: str
    nbytes: int
    room: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class FileBar:
    """A file: `nbytes` fill its bar, `size` is the whole file's."""

    name: str
    nbytes: int
    size: int
    tensors: int
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Bars:
    """Files on one scale. `limit` is what each may hold, None where there is no limit."""

    files: tuple[FileBar, ...]
    limit: int | None = None

    @property
    def longest(self) -> int:
        """The bytes of the fullest file or, if it is more, of the limit; at least 1."""
        return max([self.limit or 0, *(file.nbytes for file in self.files), 1])

    def is_over(self, file: FileBar) -> bool:
        """Whether a file holds more than the limit."""
        return self.limit is not None and file.nbytes > self.limit


def both_ends(
    rows: Sequence[_RowT], kept: int
) -> tuple[Sequence[_RowT], Sequence[_RowT], Sequence[_RowT]]:
    """Return the first and the last of more than `kept` rows, half of `kept` each.

    Between them are the rows that are left out.
    """
    half = kept // 2
    return rows[:half], rows[half:-half], rows[-half:]


def planned(plan: Plan) -> Bars:
    """Return the bars of planned shards, by the bytes that are counted against the limit."""
    limits = plan.request.limits
    ended = endings(plan.shards, limits, by_name(plan.request.format))
    return Bars(
        tuple(
            FileBar(
                escape(shard.filename),
                shard.size if limits.strict else shard.data_size,
                shard.size,
                len(shard.tensors),
                ending,
            )
            for shard, ending in zip(plan.shards, ended, strict=True)
        ),
        limits.max_shard_bytes,
    )


def endings(shards: Sequence[Shard], limits: Limits, written: Format) -> list[Ending | None]:
    """Return for each shard why it ends; None for the last one, and where there is no limit.

    A tensor over the limit becomes a shard at once, and the open shard stays open past it. So what
    closed a shard is the first tensor of the next one that is not of that kind.
    """
    limit = limits.max_shard_bytes
    found: list[Ending | None] = []
    following: tuple[str, int] | None = None
    for shard in reversed(shards):
        ending = None
        if shard.tensors and limit is not None:
            unit = units_of(shard.tensors, written)[0]
            name = escape(unit.name)
            if shard.data_size > limit:
                ending = Ending(name, shard.data_size, limit, alone=True)
            else:
                if following is not None:
                    used = shard.size if limits.strict else shard.data_size
                    ending = Ending(*following, limit - used)
                following = (name, unit.nbytes)
        found.append(ending)
    return found[::-1]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Files one after another, as shares of `scale` bytes; `format` is that of the files."""

    label: str
    format: str
    files: tuple[Share, ...]
    scale: int


def before_and_after(source: Checkpoint, plan: Plan) -> tuple[Stretch, Stretch]:
    """Return the files that a plan reads and those that it writes, by their sizes, on one scale."""
    old = [(_base_name(file.path), file.version.size, 0) for file in source.files]
    new = [(shard.filename, shard.size, len(shard.tensors)) for shard in plan.shards]
    scale = max(sum(size for _, size, _ in old), sum(size for _, size, _ in new), 1)
    before, after = (
        shares(((escape(n), s, t) for n, s, t in files), scale) for files in (old, new)
    )
    return (
        Stretch("before", source.format, before, scale),
        Stretch("after", plan.request.format, after, scale),
    )


def _base_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]
