"""Lay out safetensors files, byte for byte as upstream writes them, or padded to share blocks.

Source: `safetensors/src/tensor.rs` of safetensors 0.8.0, with its random order of metadata keys
replaced by a sorted one.
"""

from __future__ import annotations

import bisect
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from shardctl.columns import Form, Tensors, forms_of, names_of, spans_of
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
        """Return the exact bytes of the file that `lay_out` gives; raises what it raises.

        The text of the header is not made for that.
        """
        _refuse_unwritable(tensors)
        names, forms = names_of(tensors), forms_of(tensors)
        sizes = [form.nbytes for form in forms]
        alike = Counter(forms)
        if block is None and len({form.nbytes for form in alike}) > 1:
            order = _order(names, [form.dtype.rank for form in forms])
            sizes = [sizes[number] for number in order]
        bounds = [0, *itertools.accumulate(sizes)]
        lengths = (
            len(_metadata_member(metadata).encode()) + 1 if metadata else 0,
            _quoted_bytes(names),
            sum(count * len(_member(form)) for form, count in alike.items()),
            # Each bound but the outer ones ends a tensor, and begins the next.
            2 * _digits(bounds) - len(f"{bounds[0]}{bounds[-1]}"),
            len("[,]},") * len(names),
        )
        # The last member has no comma.
        length = len("{}") + max(sum(lengths) - 1, 0)
        phase = (_ALIGNMENT, 0) if block is None else _phase(tensors, block)
        return LENGTH_BYTES + _padded(length, *phase) + bounds[-1]

    def lay_out(
        self, tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None = None
    ) -> Layout:
        """Lay out the file: compact as upstream writes it, or to share blocks of `block` bytes.

        Raises UsageError for a tensor or a header that the format cannot hold.
        """
        _refuse_unwritable(tensors)
        ordered = _in_order(tensors) if block is None else tuple(tensors)
        phase = (_ALIGNMENT, 0) if block is None else _phase(ordered, block)
        builder = LayoutBuilder()
        builder.literal(_header(ordered, metadata, *phase))
        for tensor in ordered:
            for piece in pieces_of(tensor):
                if isinstance(piece, Copy):
                    builder.copy(piece.extent)
                elif piece.nbytes:
                    builder.record(piece)
            builder.check(tensor)  # the format has no place for a checksum
        return builder.build()


def _header(
    ordered: Sequence[Tensor], metadata: Mapping[str, str], modulus: int, remainder: int
) -> bytes:
    """Return the bytes up to the first tensor, whose offset has a remainder by the modulus.

    `ordered` are the tensors in file order.
    """
    members = [_metadata_member(metadata)] if metadata else []
    begin = 0
    forms = forms_of(ordered)
    texts = {form: _member(form) for form in set(forms)}
    for tensor, form in zip(ordered, forms, strict=True):
        text = texts[form]
        end = begin + form.nbytes
        members.append(f"{_quote(tensor.name)}{text}[{begin},{end}]}}")
        begin = end
    header = ("{" + ",".join(members) + "}").encode()
    length = _padded(len(header), modulus, remainder)
    return length.to_bytes(LENGTH_BYTES, "little") + header.ljust(length)


def _member(form: Form) -> str:
    """Return what a header says of many tensors alike, between the name and the bounds."""
    shape = ",".join(map(str, form.shape))
    return f':{{"dtype":"{form.dtype.name}","shape":[{shape}],"data_offsets":'


def _quoted_bytes(names: Sequence[str]) -> int:
    """Return the bytes of the quoted names together; characters are quoted one by one."""
    text = _quote("".join(names))
    return len(text.encode()) + len('""') * (len(names) - 1)


def _digits(bounds: Sequence[int]) -> int:
    """Return how many digits ascending numbers have together; 0 has one."""
    digits, least = len(bounds), 10
    while least <= bounds[-1]:
        digits += len(bounds) - bisect.bisect_left(bounds, least)
        least *= 10
    return digits


def _phase(tensors: Sequence[Tensor], block: int) -> tuple[int, int]:
    """Return the modulus and remainder of the data's offset that share most bytes.

    Data has no holes, so one number decides for the whole file. Shared bytes keep the alignment
    that they have in their source; where no tensor fills a block, the data is aligned as in the
    compact layout.
    """
    shared: Counter[int] = Counter()
    begin = 0
    for offset, nbytes in _places(tensors):
        if offset is not None and nbytes >= block:
            shared[(offset - begin) % block] += nbytes
        begin += nbytes
    # The first of several equal ones is taken: Counter keeps the order of insertion.
    return (block, shared.most_common(1)[0][0]) if shared else (_ALIGNMENT, 0)


def _places(tensors: Sequence[Tensor]) -> Iterator[tuple[int | None, int]]:
    """Yield where the bytes of each tensor begin in the source, and how many there are.

    None where they are not there as they are to be written.
    """
    if isinstance(tensors, Tensors):
        yield from spans_of(tensors)
        return
    for tensor in tensors:
        can_share = tensor.strides is None and tensor.storage.made is None
        yield tensor.span.offset if can_share else None, tensor.nbytes


def _in_order(tensors: Sequence[Tensor]) -> list[Tensor]:
    held = tuple(tensors)
    ranks = [tensor.dtype.rank for tensor in held]
    return [held[number] for number in _order(names_of(held), ranks)]


def _order(names: Sequence[str], ranks: Sequence[int | None]) -> list[int]:
    """Return the numbers of tensors in upstream's order.

    Wide types come first, so that each is aligned; then it goes by name. Code points sort as their
    UTF-8 does.
    """
    order = sorted(range(len(names)), key=names.__getitem__)
    if len(set(ranks)) > 1:
        order.sort(key=lambda number: ranks[number] or 0, reverse=True)
    return order


def _refuse_unwritable(tensors: Sequence[Tensor]) -> None:
    """Raise UsageError for the first tensor that the format cannot hold."""
    names = names_of(tensors)
    if _are_plain(tensors) and METADATA_KEY not in names and is_unicode("".join(names)):
        return
    for tensor in tensors:
        _refuse(tensor)


def _are_plain(tensors: Sequence[Tensor]) -> bool:
    """Whether no tensor is strided, or of a type that the format does not have."""
    if isinstance(tensors, Tensors):
        return all(form.dtype.rank is not None for form in set(forms_of(tensors)))
    return all(tensor.strides is None and tensor.dtype.rank is not None for tensor in tensors)


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


def _padded(length: int, modulus: int, remainder: int) -> int:
    """Return the bytes of a header of some length when it is padded with spaces.

    The data's offset then has that remainder by the modulus. Raises UsageError for one that is too
    large.
    """
    padded = length + (remainder - LENGTH_BYTES - length) % modulus
    if padded > MAX_HEADER_BYTES:
        message = (
            f"the header would take {padded:,} bytes; readers refuse more than {MAX_HEADER_BYTES:,}"
        )
        raise UsageError(message, hint="write several shards, for example with `num_shards` 2")
    return padded
