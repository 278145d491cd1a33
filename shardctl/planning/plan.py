"""Decide in which shard, and in which order, each tensor goes. Pure functions: no file is touched.

Packing itself is in `packing`, which follows huggingface_hub's planner for the same tensors in the
same order; what it must not divide is in `groups`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shardctl.errors import UsageError
from shardctl.formats.registry import by_name
from shardctl.model import Assembled, Cast, Checkpoint, Tensor
from shardctl.naming import MAX_SHARDS
from shardctl.planning.carried import NotCarried, left_of, left_tensors
from shardctl.planning.files import filename, left_of_index, listing
from shardctl.planning.grouping.groups import units_of
from shardctl.planning.grouping.packing import divide
from shardctl.planning.grouping.ties import resolve_ties
from shardctl.planning.metadata import FileMetadata, file_metadata, with_record
from shardctl.planning.notes import large_groups, left_out, notes
from shardctl.planning.request import Limits, Measure, Request, options_of
from shardctl.planning.transform.select import select
from shardctl.repeats import MOST_GROWTH
from shardctl.storages import Unit, checked_once, sources_of
from shardctl.text import escape

#: Increased whenever the same plan would give other bytes than before.
LAYOUT_VERSION = 1

#: Views may take this many bytes in any case, without a word from the user.
LEAST_GROWN = 1024 * 1024
#: What many tensors have in common in a digest: dtype, shape and strides.
_Form = tuple[str, tuple[int, ...], tuple[int, ...] | None]
_quote = json.encoder.encode_basestring_ascii
#: Tensors that a digest takes in at a time: their text need not all be in memory at once.
_TENSORS_AT_A_TIME = 10_000


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


def make_plan(checkpoint: Checkpoint, request: Request, measure: Measure) -> Plan:
    """Decide which tensor goes where.

    Raises UsageError where a limit cannot be kept, the number of shards cannot be named, or the
    tensors would take many times the bytes that the source has of them and `tied` is not 'expand';
    and as `select` does.
    """
    chosen = select(checkpoint, request.selection)
    checkpoint = chosen.checkpoint
    done: list[str] = []
    # What few runs ask for is imported for those alone.
    if request.experts is not None:
        from shardctl.planning.transform.experts import arrange  # noqa: PLC0415 - see above

        arranged = arrange(checkpoint, request.experts)
        checkpoint = arranged.checkpoint
        done.append(arranged.note)
    written = by_name(request.format)
    tensors, aliases = resolve_ties(checkpoint, written, request.tied)
    if by_name(checkpoint.format).shares_storages and request.tied != "expand":
        _refuse_growth(
            [
                tensor
                for tensor in tensors
                if tensor.storage.made is not None or not written.shares_storages
            ]
        )
    if request.order == "natural":
        tensors = sorted(tensors, key=lambda tensor: natural_key(tensor.name))
    if request.conversion is not None:
        from shardctl.planning.transform.cast import convert  # noqa: PLC0415 - see above

        converted = convert(tensors, request.conversion)
        tensors, record = converted.tensors, converted.record(request.conversion.dtype)
        checkpoint = with_record(checkpoint, written, record)
        nothing = f"nothing: all floating-point tensors are {request.conversion.dtype}, or kept"
        done.append(f"converts {record or nothing}")
    metadata, unwritten = file_metadata(checkpoint, written, tensors, aliases)
    units = units_of(tensors, written, aliases)
    if request.group_by is not None:
        from shardctl.planning.grouping.layers import grouped  # noqa: PLC0415 - see above

        units = grouped(units, request.group_by)
    shards = _pack(units, request, tensors, metadata, measure)
    oversize = _oversize(units, request.limits)
    del units  # of a million tensors they take 150 MB, and the index as much as that
    total = sum(shard.data_size for shard in shards)
    held = {shard.filename: shard.tensors for shard in shards}
    listed, index = listing(checkpoint, request, held, total, aliases) or (None, None)
    return Plan(
        id=_plan_id(checkpoint, request, metadata.common, shards, index),
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
            *left_of(checkpoint),
            *unwritten,
            *left_of_index(checkpoint, request, len(shards)),
        ),
    )


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
    units: list[Unit],
    request: Request,
    tensors: Sequence[Tensor],
    metadata: FileMetadata,
    measure: Measure,
) -> tuple[Shard, ...]:
    packed = divide(units, request.limits, lambda some: measure(some, metadata.of(some)))
    if len(packed) > MAX_SHARDS:
        raise UsageError(
            f"the plan has {len(packed):,} shards; at most {MAX_SHARDS:,} can be numbered",
            hint="choose a larger `max_shard_size`",
        )
    sizes = [sum(unit.nbytes for unit in units) for units in packed]
    files = checked_once(_in_order(packed, tensors))
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


def _in_order(
    packed: Sequence[Sequence[Unit]], tensors: Sequence[Tensor]
) -> Iterator[list[Tensor]]:
    """Yield the tensors of each shard, in the order of all.

    Those of one unit need not be neighbours.
    """
    position: dict[str, int] = {}
    for units in packed:
        some = [tensor for unit in units for tensor in unit.tensors]
        if len(some) > len(units):
            position = position or {tensor.name: place for place, tensor in enumerate(tensors)}
            some.sort(key=lambda tensor: position[tensor.name])
        yield some


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


def _oversize(units: Iterable[Unit], limits: Limits) -> list[Unit]:
    limit = limits.max_shard_bytes
    return [] if limit is None else [unit for unit in units if unit.nbytes > limit]


def _row(tensor: Tensor, number: Mapping[str, int]) -> list[object]:
    """Return what a tensor is, and where its bytes are; `number` is that of each file."""
    made = tensor.storage.made
    place = number[tensor.storage.extent.path]
    row = [tensor.name, place, tensor.begin, tensor.dtype.name, tensor.shape, tensor.strides]
    match made:
        case Assembled():
            return [*row, made.grid, [[box.start, _row(box.tensor, number)] for box in made.boxes]]
        case Cast():
            return [*row, _row(made.tensor, number)]
        case None:
            return row


def _row_text(tensor: Tensor, number: Mapping[str, int], forms: dict[_Form, str]) -> str:
    """Return the JSON text of a tensor's row; `forms` keeps what many tensors have in common."""
    storage = tensor.storage
    if storage.made is not None:
        return _compact(_row(tensor, number))
    form = tensor.dtype.name, tensor.shape, tensor.strides
    rest = forms.get(form) or forms.setdefault(form, _compact(form)[1:])
    place = number[storage.extent.path]
    return f"[{_quote(tensor.name)},{place},{tensor.begin},{rest}"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _plan_id(
    checkpoint: Checkpoint,
    request: Request,
    common: Mapping[str, str],
    shards: Sequence[Shard],
    index: bytes | None,
) -> str:
    """Return a digest of all that determines the bytes.

    These are options, layout version, and the sources' names, sizes and headers. One file can hold
    several state dicts with equal names (`model` and `ema`), so the places of tensors count too.
    `common` is the metadata of every file; that of a single file, or what else one of several has,
    counts as well.
    """
    single = len(shards) == 1
    own = {} if single else {shard.filename: dict(shard.metadata) for shard in shards}
    own = {name: metadata for name, metadata in own.items() if metadata != common}
    filenames = [shard.filename for shard in shards]
    number = {file.path: place for place, file in enumerate(checkpoint.files)}
    document = {
        "layout_version": LAYOUT_VERSION,
        "options": options_of(request),
        "block_size": request.block,
        "sources": [
            [file.path.replace("\\", "/").rsplit("/", 1)[-1], file.version.size, file.header_sha256]
            for file in checkpoint.files
        ],
        # The last key, so that the list can be written into it piece by piece.
        "tensors": [],
        "metadata": dict(shards[0].metadata if single else common),
        **({"shard_metadata": own} if own else {}),
        "filenames": filenames,
        "index": None if index is None else hashlib.sha256(index).hexdigest(),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.removesuffix("]}").encode())
    forms: dict[_Form, str] = {}
    for begin in range(0, len(checkpoint.tensors), _TENSORS_AT_A_TIME):
        some = checkpoint.tensors[begin : begin + _TENSORS_AT_A_TIME]
        rows = ",".join([_row_text(tensor, number, forms) for tensor in some])
        digest.update(f"{',' if begin else ''}{rows}".encode())
    digest.update(b"]}")
    return digest.hexdigest()
