"""Decide in which shard, and in which order, each tensor goes. Pure functions: no file is touched.

Packing itself is in `packing`, which follows huggingface_hub's planner for the same tensors in the
same order; what it must not divide is in `groups`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shardctl.errors import UsageError
from shardctl.formats.registry import by_name
from shardctl.model import Cast, Checkpoint, Tensor
from shardctl.naming import MAX_SHARDS
from shardctl.planning.carried import NotCarried, left_of, left_tensors
from shardctl.planning.digest import plan_id
from shardctl.planning.files import filename, left_of_index, listing
from shardctl.planning.grouping.groups import units_of
from shardctl.planning.grouping.packing import divide
from shardctl.planning.grouping.ties import resolve_ties
from shardctl.planning.grouping.units import Units
from shardctl.planning.metadata import FileMetadata, file_metadata, with_record
from shardctl.planning.notes import large_groups, left_out, notes
from shardctl.planning.request import Limits, Measure, Request
from shardctl.planning.transform.select import select
from shardctl.repeats import MOST_GROWTH
from shardctl.storages import Unit, checked_once, sources_of
from shardctl.text import escape

#: Views may take this many bytes in any case, without a word from the user.
LEAST_GROWN = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shard:
    """One file to write: `size` is the whole file's, `data_size` its tensors', both in bytes.

    `metadata` are the string pairs that go into it.
    """

    filename: str
    tensors: Sequence[Tensor]
    size: int
    data_size: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written, as a value. `index` is the index file's bytes, None for no index.

    `oversize` names the tensors that alone, or with what cannot be divided from them, are larger
    than the limit; `left_out` are those of the
    source that were not chosen; `notes` are for the user to know before the work, and so is `left`:
    what of the files' contents does not go along.
    """

    id: str
    request: Request
    shards: tuple[Shard, ...]
    index_filename: str | None
    index: bytes | None
    oversize: tuple[str, ...] = ()
    left_out: tuple[Tensor, ...] = ()
    notes: tuple[str, ...] = ()
    left: tuple[NotCarried, ...] = ()

    @property
    def total_size(self) -> int:
        """Bytes of all tensors that are written: the index's `total_size`."""
        return sum(shard.data_size for shard in self.shards)

    @property
    def filenames(self) -> tuple[str, ...]:
        """The names of all files, the index last."""
        index = () if self.index_filename is None else (self.index_filename,)
        return (*(shard.filename for shard in self.shards), *index)

    @property
    def loads_from(self) -> str:
        """The name that a loader takes: the index, or the one file; empty for the directory."""
        if by_name(self.request.format).is_in_pieces:
            return ""
        return self.index_filename or self.shards[0].filename


def make_plan(source: Checkpoint, request: Request, measure: Measure) -> Plan:
    """Decide which tensor goes where.

    Raises UsageError where a limit cannot be kept, the number of shards cannot be named, or the
    tensors would take many times the bytes that the source has of them and `tied` is not 'expand';
    and as `select` does.
    """
    chosen = select(source, request.selection)
    checkpoint = chosen.checkpoint
    done: list[str] = []
    # What few runs ask for is imported for those alone.
    if request.experts is not None:
        from shardctl.planning.transform.experts import arrange  # noqa: PLC0415 - see above

        arranged = arrange(checkpoint, request.experts)
        checkpoint = arranged.checkpoint
        done.append(arranged.note)
    unconverted = checkpoint
    if request.conversion is not None:
        from shardctl.planning.transform.cast import convert_all  # noqa: PLC0415 - see above

        # Before the ties: of tied tensors some may be kept as they are.
        checkpoint = convert_all(checkpoint, request.conversion)
    written = by_name(request.format)
    tensors, aliases = resolve_ties(checkpoint, written, request.tied)
    if by_name(checkpoint.format).shares_storages and request.tied != "expand":
        # Tied tensors are written once.
        once = {
            tensor.identity or tensor.name: tensor
            for tensor in tensors
            if tensor.storage.made is not None or not written.shares_storages
        }
        _refuse_growth(list(map(_unconverted, once.values())))
    if request.order == "natural":
        tensors = sorted(tensors, key=lambda tensor: natural_key(tensor.name))
    if request.conversion is not None:
        from shardctl.planning.transform.cast import Converted  # noqa: PLC0415 - see above

        record = Converted(tensors).record(request.conversion.dtype)
        checkpoint = with_record(checkpoint, written, record)
        nothing = f"nothing: all floating-point tensors are {request.conversion.dtype}, or kept"
        done.append(f"converts {record or nothing}")
    metadata, unwritten = file_metadata(checkpoint, written, tensors, aliases)
    units = units_of(tensors, written, aliases)
    if request.group_by is not None:
        from shardctl.planning.grouping.layers import grouped  # noqa: PLC0415 - see above

        units = Units(tensors, grouped(list(units), request.group_by))
    shards = _pack(units, request, metadata, measure)
    oversize = _oversize(units, request.limits)
    total = sum(shard.data_size for shard in shards)
    held = {shard.filename: shard.tensors for shard in shards}
    own = {shard.filename: shard.metadata for shard in shards}
    listed, index = listing(checkpoint, request, held, total, aliases) or (None, None)
    return Plan(
        id=plan_id(unconverted, request, metadata.common, own, index),
        request=request,
        shards=shards,
        index_filename=listed,
        index=index,
        oversize=tuple(unit.name for unit in oversize),
        left_out=chosen.left_out,
        notes=(
            *left_out(chosen.left_out),
            *done,
            *notes(checkpoint, written, tensors, aliases),
            *large_groups(oversize),
        ),
        left=(
            *left_tensors(chosen.left_out),
            *left_of(source),
            *unwritten,
            *left_of_index(unconverted, request, len(shards)),
        ),
    )


def _unconverted(tensor: Tensor) -> Tensor:
    """Return a tensor before it was converted, which may take more bytes for each element."""
    made = tensor.storage.made
    return made.tensor if isinstance(made, Cast) else tensor


def _refuse_growth(tensors: Sequence[Tensor]) -> None:
    """Refuse to write views in full that share few bytes: 1 KB can ask for a whole disk."""
    sources = [list(sources_of(tensor)) for tensor in tensors]
    storages = {
        source.storage.recorded.identity: source.storage.recorded.extent.length
        for some in sources
        for source in some
    }
    held, needed = sum(storages.values()), sum(tensor.nbytes for tensor in tensors)
    if needed <= max(MOST_GROWTH * held, LEAST_GROWN):
        return
    spans = [sum(source.span.length for source in some) for some in sources]
    worst, span = max(zip(tensors, spans, strict=True), key=lambda pair: pair[0].nbytes - pair[1])
    raise UsageError(
        f"the tensors would take {needed:,} bytes, and the source has {held:,} bytes of them: "
        f"'{escape(worst.name)}' alone is a view of {span:,} bytes that takes {worst.nbytes:,} "
        "in full",
        hint='add `tied="expand"` if that is meant, or keep the format, in which views share '
        "their bytes",
        tensor=worst.name,
    )


def _pack(
    units: Units,
    request: Request,
    metadata: FileMetadata,
    measure: Measure,
) -> tuple[Shard, ...]:
    packed = divide(units, request.limits, lambda some: measure(some, metadata.of(some)))
    if len(packed) > MAX_SHARDS:
        raise UsageError(
            f"the plan has {len(packed):,} shards; at most {MAX_SHARDS:,} can be numbered",
            hint="choose a larger `max_shard_size`",
        )
    sizes = map(units.nbytes, packed)
    files = checked_once(map(units.held, packed))
    return tuple(
        _shard(request, number, len(packed), held, metadata, measure)
        for number, held in enumerate(zip(files, sizes, strict=True), start=1)
    )


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key by which `layers.2` comes before `layers.10`.

    Numbers may have any length.
    """
    return tuple(map(_natural_part, re.split(r"([0-9]+)", name)))


def _natural_part(part: str) -> tuple[int, int, str]:
    if not part.isdecimal():
        return 1, 0, part
    # Of two numbers without leading zeros the longer one is larger; making them numbers takes time
    # that is quadratic in their length, and Python refuses it.
    digits = part.lstrip("0")
    return 0, len(digits), digits


def _shard(
    request: Request,
    number: int,
    count: int,
    held: tuple[Sequence[Tensor], int],
    metadata: FileMetadata,
    measure: Measure,
) -> Shard:
    tensors, nbytes = held
    own = metadata.of(tensors)
    return Shard(filename(request, number, count), tensors, measure(tensors, own), nbytes, own)


def _oversize(units: Units, limits: Limits) -> list[Unit]:
    limit = limits.max_shard_bytes
    if limit is None:
        return []
    return [units[number] for number, nbytes in enumerate(units.sizes) if nbytes > limit]
