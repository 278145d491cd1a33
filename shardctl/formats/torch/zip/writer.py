"""Write torch's zip files: the records that hold some tensors, as torch 2.13 has them.

Source: `_save` in torch/serialization.py of torch 2.13. In a file that shares blocks (of `block`
bytes) records are not where torch would compute them: the two that allow it to compute offsets
instead of reading them are then left out.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from shardctl.errors import UsageError
from shardctl.formats.limits import MAX_SIZE
from shardctl.formats.strict_json import is_unicode
from shardctl.formats.torch.calls.types import STORAGE_OF, TORCH_NAME_OF, torch_packing
from shardctl.formats.torch.pickler import View, pickle_state_dict
from shardctl.formats.torch.zip.layout import ALIGNMENT, Record, lay_out, measure
from shardctl.layout import Copy, Layout, pieces_of
from shardctl.model import Extent, Tensor, contiguous_strides
from shardctl.storages import shared_storages, used_extent
from shardctl.text import escape

TOP = "archive"


class TorchZipWriter:
    """Lays out torch's zip files."""

    def measure(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - metadata has no place here
        block: int | None = None,
    ) -> int:
        """Exact bytes of the file that `lay_out` gives; raises what it raises."""
        return measure(records_of(tensors, block), block)

    def lay_out(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - metadata has no place here
        block: int | None = None,
    ) -> Layout:
        """The file: as torch writes it, or shareable in blocks.

        Raises UsageError for a dtype that torch lacks.
        """
        return lay_out(records_of(tensors, block), block)


def records_of(
    tensors: Sequence[Tensor],
    block: int | None = None,
    pickled: Callable[[Iterable[View]], bytes] = pickle_state_dict,
) -> Iterator[Record]:
    """Yield the records of a file that holds these tensors, in torch's order.

    `block` is that of a shareable file; `pickled` makes the pickle that refers to the tensors.
    """
    for tensor in tensors:
        _check(tensor)
    yield _known("data.pkl", pickled(map(_view, tensors, _places(tensors))))
    if block is None:
        yield _known(".format_version", b"1")
        yield _known(".storage_alignment", str(ALIGNMENT).encode())
    yield _known("byteorder", b"little")
    yield from _storage_records(tensors)
    yield _known("version", b"3\n")


def _known(name: str, data: bytes) -> Record:
    return Record(f"{TOP}/{name}".encode(), data, zlib.crc32(data))


class _Place(NamedTuple):
    """Where a tensor is stored: the number of its storage, and the part of it that is written.

    `group` are all tensors that view it.
    """

    number: int
    used: Extent
    group: Sequence[Tensor]


def _places(tensors: Sequence[Tensor]) -> Iterator[_Place]:
    """Yield the place of each tensor; storages are numbered as they first occur."""
    groups = shared_storages(tensors)
    known: dict[tuple[str, str], _Place] = {}
    count = 0
    for tensor in tensors:
        group = groups.get(tensor.storage.identity) if groups else None
        if group is None:
            place = _Place(count, tensor.span, (tensor,))
        else:
            place = known.get(tensor.storage.identity) or _Place(count, used_extent(group), group)
            known[tensor.storage.identity] = place
        count += place.number == count
        yield place


def _storage_records(tensors: Sequence[Tensor]) -> Iterator[Record]:
    count = 0
    for place in _places(tensors):
        if place.number < count:
            continue
        count += 1
        first, used = place.group[0], place.used
        crc32 = first.storage.crc32 if used == first.storage.extent else None
        yield Record(
            f"{TOP}/data/{place.number}".encode(),
            (Copy(used, crc32),) if first.storage.made is None else pieces_of(first),
            0 if used.length == 0 else crc32,
            next((tensor for tensor in place.group if tensor.elements), None),
        )


def _view(tensor: Tensor, place: _Place) -> View:
    used = place.used
    skipped = 8 * (used.offset - tensor.storage.extent.offset) // tensor.dtype.bits
    packed = torch_packing(tensor.dtype)
    shape = (*tensor.shape[:-1], tensor.shape[-1] // packed) if packed > 1 else tensor.shape
    return View(
        name=tensor.name,
        key=str(place.number),
        dtype=tensor.dtype,
        storage_bytes=used.length,
        offset=(tensor.offset - skipped) // packed if tensor.elements else 0,
        shape=shape,
        strides=contiguous_strides(shape) if tensor.strides is None else tensor.strides,
        shared=len(place.group) > 1,
    )


def _check(tensor: Tensor) -> None:
    if tensor.dtype.name not in STORAGE_OF and tensor.dtype.name not in TORCH_NAME_OF:
        raise UsageError(
            f"tensor '{escape(tensor.name)}' has dtype {tensor.dtype.name}, which torch's files do "
            "not have",
            hint="keep this checkpoint in safetensors",
            tensor=tensor.name,
        )
    packed = torch_packing(tensor.dtype)
    if packed > 1 and (tensor.strides is not None or not tensor.shape or tensor.shape[-1] % packed):
        raise UsageError(
            f"tensor '{escape(tensor.name)}' does not fill whole elements of "
            f"torch.{TORCH_NAME_OF[tensor.dtype.name]}",
            hint="keep this checkpoint in safetensors",
            tensor=tensor.name,
        )
    # Torch counts elements, also those of an empty tensor's strides, in signed 64 bits.
    if math.prod(filter(None, tensor.shape)) > MAX_SIZE:
        raise UsageError(
            f"tensor '{escape(tensor.name)}' has a shape that torch cannot count",
            hint="keep this checkpoint in safetensors",
            tensor=tensor.name,
        )
    if not is_unicode(tensor.name):
        raise UsageError(
            f"tensor '{escape(tensor.name)}' has a name that is not valid Unicode",
            hint="rename it where the checkpoint is made",
            tensor=tensor.name,
        )
