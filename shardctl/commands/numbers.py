"""What the numbers are in the tensors that `inspect` shows: all their bytes are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from shardctl.commands.inspect import Inspection
from shardctl.engine.sources import Sources
from shardctl.model import Tensor
from shardctl.stores.base import Store
from shardctl.streams.elements import Chunk, elements_of
from shardctl.streams.pool import observed
from shardctl.streams.progress import Observer, Tick
from shardctl.streams.statistics import Statistics, has_statistics, statistics


def with_statistics(
    found: Inspection,
    store: Store,
    tensors: Iterable[Tensor],
    *,
    jobs: int = 2,
    observe: Observer | None = None,
) -> Inspection:
    """Return an inspection with the statistics of some of its tensors; no others are read.

    Tied tensors are read once. Raises UsageError where numpy is not installed, SourceChangedError,
    and what reading raises.
    """
    names: dict[str, list[str]] = {}
    distinct: dict[str, Tensor] = {}
    for tensor in tensors:
        first = found.tied_to.get(tensor.name, tensor.name)
        names.setdefault(first, []).append(tensor.name)
        distinct.setdefault(first, tensor)
    summed = {
        first: tensor for first, tensor in distinct.items() if has_statistics(tensor.dtype.name)
    }

    with Sources.of(store, found.checkpoint) as sources:

        def sum_up(tensor: Tensor, tick: Tick) -> Statistics:
            chunks = _ticked(elements_of(sources.reader, tensor), tick)
            return statistics(chunks, tensor.dtype.name)

        each = observed(
            jobs, sum_up, summed.values(), lambda tensor: tensor.nbytes, observe, found.source
        )
        made = dict(zip(summed, each, strict=True))
        sources.check_unchanged()
    known = {name: made.get(first) for first, tied in names.items() for name in tied}
    return replace(found, statistics=known)


def _ticked(chunks: Iterator[Chunk], tick: Tick) -> Iterator[Chunk]:
    for chunk in chunks:
        yield chunk
        tick(len(chunk))
