"""Write a distributed checkpoint of torch (DCP): data files, and the `.metadata` that lists them.

Source: `torch/distributed/checkpoint/filesystem.py` of torch 2.13, in its default form: a data file
is one file of torch.save after another, each with a tensor. Every tensor is one slice, whatever the
number of processes that will load it: each takes what it needs of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shardctl.errors import UsageError
from shardctl.formats.dcp.metadata import Chunk, Place, SavedTensor
from shardctl.formats.dcp.pickler import pickle_metadata
from shardctl.formats.strict_json import is_unicode
from shardctl.formats.torch.calls.types import torch_packing
from shardctl.formats.torch.pickler import pickle_tensor
from shardctl.formats.torch.zip.layout import Record, append, measure
from shardctl.formats.torch.zip.writer import records_of
from shardctl.layout import Layout, LayoutBuilder
from shardctl.model import Assembled, Box, Tensor, made_tensor
from shardctl.text import escape


class DcpWriter:
    """Lays out data files."""

    def measure(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - metadata has no place here
        block: int | None = None,
    ) -> int:
        """Exact bytes of the file that `lay_out` gives; raises what it raises."""
        return sum(length for _, length in _ranges(tensors, block))

    def lay_out(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - metadata has no place here
        block: int | None = None,
    ) -> Layout:
        """The file: as torch writes it, or shareable in blocks.

        Raises UsageError for a dtype that torch lacks, or counts in pairs.
        """
        builder = LayoutBuilder()
        for tensor in tensors:
            append(builder, _records(tensor, block), block)
        return builder.build()


class DcpListing:
    """Names data files as one thread of each process does, and lists what is in them."""

    def name(self, number: int) -> str:
        """Return the name of data file `number`, counted from 1."""
        return f"__{number - 1}_0.distcp"

    def listed(self, files: Mapping[str, Sequence[Tensor]], block: int | None = None) -> bytes:
        """Return the bytes of the `.metadata` of data files that were laid out with `block`."""
        return pickle_metadata(
            [
                _saved(tensor, Place(filename, offset, length))
                for filename, tensors in files.items()
                for tensor, (offset, length) in zip(tensors, _ranges(tensors, block), strict=True)
            ]
        )


def _saved(tensor: Tensor, place: Place) -> SavedTensor:
    whole = Chunk((0,) * len(tensor.shape), tensor.shape, place)
    return SavedTensor(tensor.name, (tensor.name,), tensor.dtype, tensor.shape, (whole,))


def _ranges(tensors: Sequence[Tensor], block: int | None) -> Iterator[tuple[int, int]]:
    """Yield where the file of torch.save of each tensor begins in the data file, and its length.

    In a compact file that depends on type and shape alone, of which a checkpoint has few; a name
    that torch cannot have is refused here.
    """
    begin = 0
    lengths: dict[object, int] = {}
    for tensor in tensors:
        kind = (tensor.dtype, tensor.shape, is_unicode(tensor.name))
        length = lengths.get(kind) if block is None else None
        if length is None:
            length = lengths[kind] = measure(_records(tensor, block), block, begin)
        yield begin, length
        begin += length


def _records(tensor: Tensor, block: int | None) -> Iterator[Record]:
    if torch_packing(tensor.dtype) > 1:
        raise UsageError(
            f"tensor '{escape(tensor.name)}' has dtype {tensor.dtype.name}, of which torch counts "
            "several as one element",
            hint="keep this checkpoint in safetensors",
            tensor=tensor.name,
        )
    return records_of([_contiguous(tensor)], block, pickle_tensor)


def _contiguous(tensor: Tensor) -> Tensor:
    """Return a tensor with the same elements, and no others between them."""
    if tensor.strides is None:
        return tensor
    whole = Assembled(tensor.shape, (Box((0,) * len(tensor.shape), tensor),))
    return made_tensor(tensor.name, tensor.dtype, tensor.shape, whole, tensor.storage.key)
