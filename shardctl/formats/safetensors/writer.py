"""Lay out safetensors files, byte for byte as upstream writes them, or padded to share blocks.

Source: `safetensors/src/tensor.rs` of safetensors 0.8.0, with its random order of metadata keys
replaced by a sorted one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from shardctl.errors import UsageError
from shardctl.formats.limits import MAX_HEADER_BYTES
from shardctl.formats.safetensors.check import LENGTH_BYTES, METADATA_KEY
from shardctl.formats.strict_json import is_unicode
from shardctl.layout import Copy, Layout, LayoutBuilder, pieces_of
from shardctl.model import Tensor

_ALIGNMENT = 8

# Escapes just what serde_json does: quote, backslash and control characters, with lower-case hex
# digits.
_quote = json.encoder.encode_basestring


class SafetensorsWriter:
    """Lays out safetensors files."""

    def measure(
        self, tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None = None
    ) -> int:
        """Return the exact bytes of the file that `lay_out` gives; raises what it raises."""
        return _plan(tensors, metadata, block).nbytes

    def lay_out(
        self, tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None = None
    ) -> Layout:
        """Lay out the file: compact as upstream writes it, or to share blocks of `block` bytes.

        Raises UsageError for a tensor or a header that the format cannot hold.
        """
        planned = _plan(tensors, metadata, block)
        builder = LayoutBuilder()
        builder.literal(planned.header)
        for tensor in planned.tensors:
            for piece in pieces_of(tensor):
                if isinstance(piece, Copy):
                    builder.copy(piece.extent)
                elif piece.nbytes:
                    builder.record(piece)
            builder.check(tensor)  # the format has no place for a checksum
        return builder.build()


@dataclass(frozen=True, slots=True)
class _Planned:
    """A file to write: the bytes up to the first tensor, and the tensors in file order."""

    header: bytes
    tensors: Sequence[Tensor]
    nbytes: int


def _plan(tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None) -> _Planned:
    _refuse_unwritable(tensors)
    ordered = _in_order(tensors) if block is None else tensors
    members = [_metadata_member(metadata)] if metadata else []
    begin = 0
    # What a header says of many tensors alike, with the bytes of each.
    forms: dict[tuple[str, tuple[int, ...]], tuple[str, int]] = {}
    for tensor in ordered:
        kind = tensor.dtype.name, tensor.shape
        form, nbytes = forms.get(kind) or forms.setdefault(kind, (_form(tensor), tensor.nbytes))
        end = begin + nbytes
        members.append(f"{_quote(tensor.name)}{form}[{begin},{end}]}}")
        begin = end
    text = "{" + ",".join(members) + "}"
    header = (
        _encode(text, _ALIGNMENT, 0) if block is None else _encode(text, *_phase(ordered, block))
    )
    return _Planned(header, ordered, len(header) + begin)


def _form(tensor: Tensor) -> str:
    shape = ",".join(map(str, tensor.shape))
    return f':{{"dtype":"{tensor.dtype.name}","shape":[{shape}],"data_offsets":'


def _phase(tensors: Sequence[Tensor], block: int) -> tuple[int, int]:
    """Return the modulus and remainder of the data's offset that share most bytes.

    Data has no holes, so one number decides for the whole file. Shared bytes keep the alignment
    that they have in their source; where no tensor fills a block, the data is aligned as in the
    compact layout.
    """
    shared: Counter[int] = Counter()
    begin = 0
    for tensor in tensors:
        if _can_share(tensor) and tensor.nbytes >= block:
            shared[(tensor.span.offset - begin) % block] += tensor.nbytes
        begin += tensor.nbytes
    # The first of several equal ones is taken: Counter keeps the order of insertion.
    return (block, shared.most_common(1)[0][0]) if shared else (_ALIGNMENT, 0)


def _can_share(tensor: Tensor) -> bool:
    return tensor.strides is None and tensor.storage.made is None


def _in_order(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return tensors in upstream's order: wide types first, so that each is aligned; then by name.

    Code points sort as their UTF-8 does.
    """
    ordered = sorted(tensors, key=attrgetter("name"))
    if len({tensor.dtype.rank for tensor in ordered}) > 1:
        ordered.sort(key=lambda tensor: tensor.dtype.rank or 0, reverse=True)
    return ordered


def _refuse_unwritable(tensors: Sequence[Tensor]) -> None:
    """Raise UsageError for the first tensor that the format cannot hold."""
    names = [tensor.name for tensor in tensors]
    plain = all(tensor.strides is None and tensor.dtype.rank is not None for tensor in tensors)
    if plain and METADATA_KEY not in names and is_unicode("".join(names)):
        return
    for tensor in tensors:
        _refuse(tensor)


def _refuse(tensor: Tensor) -> None:
    dtype = tensor.dtype
    if dtype.rank is None:
        message = f"safetensors has no type for {dtype.name}"
        raise UsageError(message, hint='write a .bin file with `format="bin"`', tensor=tensor.name)
    if tensor.strides is not None and dtype.bits % 8:
        message = (
            f"a strided view of {dtype.name} cannot be gathered: its elements are not whole bytes"
        )
        raise UsageError(
            message, hint="make the tensor contiguous with torch first", tensor=tensor.name
        )
    if tensor.name == METADATA_KEY:
        message = f"a tensor named {METADATA_KEY} makes a safetensors file unreadable"
        raise UsageError(
            message,
            hint='rename the tensor, or write a .bin file with `format="bin"`',
            tensor=tensor.name,
        )
    if not is_unicode(tensor.name):
        message = f"the name {tensor.name!a} has a lone surrogate, which safetensors cannot store"
        raise UsageError(
            message, hint='rename the tensor, or write a .bin file with `format="bin"`'
        )


def _metadata_member(metadata: Mapping[str, str]) -> str:
    for key, value in metadata.items():
        if not (is_unicode(key) and is_unicode(value)):
            message = f"the metadata {key!a} has a lone surrogate, which safetensors cannot store"
            raise UsageError(
                message, hint='rename the key, or write a .bin file with `format="bin"`'
            )
    pairs = ",".join(f"{_quote(key)}:{_quote(metadata[key])}" for key in sorted(metadata))
    return f'"{METADATA_KEY}":{{{pairs}}}'


def _encode(text: str, modulus: int, remainder: int) -> bytes:
    """Return the length and the header, padded with spaces.

    The data's offset then has that remainder by the modulus.
    """
    header = text.encode()
    header += b" " * ((remainder - LENGTH_BYTES - len(header)) % modulus)
    if len(header) > MAX_HEADER_BYTES:
        message = (
            f"the header would take {len(header):,} bytes; readers refuse more than "
            f"{MAX_HEADER_BYTES:,}"
        )
        raise UsageError(message, hint="write several shards, for example with `num_shards` 2")
    return len(header).to_bytes(LENGTH_BYTES, "little") + header
