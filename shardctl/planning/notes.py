"""What the user should know of a plan before the work. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from shardctl.columns import Tensors
from shardctl.formats.base import Format
from shardctl.model import Checkpoint, Tensor
from shardctl.storages import Unit
from shardctl.text import escape, plural, some


def notes(
    checkpoint: Checkpoint,
    written: Format,
    tensors: Sequence[Tensor],
    aliases: Mapping[str, str],
) -> Iterator[str]:
    """Yield what becomes of the source that the user may not expect.

    `tensors` are all that will be written; `aliases` gives for each name that is only recorded the
    name that is kept.
    """
    if not (written.shares_storages or isinstance(tensors, Tensors)):
        grown = [t for t in tensors if t.strides is not None and t.nbytes > t.span.length]
        if grown:
            more = sum(t.nbytes - t.span.length for t in grown)
            yield (
                f"writes {plural(len(grown), 'expanded tensor')} in full, which takes {more:,} "
                f"bytes more (the first is '{escape(grown[0].name)}')"
            )
    yield from _of_ties(checkpoint, aliases)


def _of_ties(checkpoint: Checkpoint, aliases: Mapping[str, str]) -> Iterator[str]:
    """Say which names are only recorded that the source does not only record."""
    dropped = [
        f"'{escape(name)}' (as '{escape(kept)}')"
        for name, kept in aliases.items()
        if name not in checkpoint.aliases
    ]
    if dropped:
        yield (
            "of tied tensors one name is written, and the others are recorded in the metadata: "
            f"{some(dropped)}"
        )


def left_out(tensors: Sequence[Tensor]) -> Iterator[str]:
    """Yield a note on the tensors that the selection leaves out."""
    if tensors:
        nbytes = sum(tensor.nbytes for tensor in tensors)
        first = escape(tensors[0].name)
        yield f"leaves out {plural(len(tensors), 'tensor')} ({nbytes:,} bytes), such as '{first}'"


def large_groups(units: Iterable[Unit]) -> Iterator[str]:
    """Yield a note on the groups among the units that are larger than the limit."""
    groups = [
        f"'{escape(unit.group)}' ({plural(len(unit.tensors), 'tensor')}, {unit.nbytes:,} bytes)"
        for unit in units
        if unit.group is not None
    ]
    if groups:
        yield f"a group over the limit has a separate shard: {some(groups)}"
