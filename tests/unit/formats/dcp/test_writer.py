"""Writing distributed checkpoints: data files of one file of torch.save after another."""

from __future__ import annotations

import io
import pickle
import zlib

import pytest
import torch

from shardctl.errors import UsageError
from shardctl.formats.dcp.writer import DcpListing, DcpWriter
from shardctl.layout import Check, Copy
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.testing.builders import materialise

_SOURCE = bytes(range(256)) * 2_000


def tensor(name: str, offset: int, elements: int, strides: tuple[int, ...] | None = None) -> Tensor:
    """A flat tensor of bytes at a place of the source, or a view of its every other byte."""
    length = elements if strides is None else 2 * elements
    extent = Extent("source", offset, length)
    crc32 = zlib.crc32(_SOURCE[offset : offset + length])
    return Tensor(name, DTYPES["U8"], (elements,), Storage(extent, name, crc32), 0, strides)


TENSORS = [
    tensor("a", 5, 70_000),
    tensor("b", 100_001, 3),
    tensor("empty", 0, 0),
    tensor("view", 7, 100, (2,)),
    tensor("c", 200_003, 200_000),
    tensor("another of the shape of b", 300_001, 3),
    tensor("view of the shape of b", 11, 3, (2,)),
]


@pytest.mark.parametrize("block", [None, 4096])
def test_each_tensor_is_where_the_metadata_says(block: int | None) -> None:
    """Every range of a data file is loaded by torch, on the types that it allows by default, and is
    the tensor; the size is as measured.
    """
    layout = DcpWriter().lay_out(TENSORS, {}, block)
    data = materialise(layout, {"source": _SOURCE})
    assert len(data) == layout.nbytes == DcpWriter().measure(TENSORS, {}, block)
    listing = DcpListing()
    metadata = pickle.loads(listing.listed({listing.name(1): TENSORS}, block))
    end = 0
    for each, (index, place) in zip(TENSORS, metadata.storage_data.items(), strict=True):
        assert (index.fqn, place.relative_path, place.offset) == (each.name, "__0_0.distcp", end)
        end += place.length
        found = torch.load(io.BytesIO(data[place.offset : end]), weights_only=True)
        begin = each.storage.extent.offset
        step = 1 if each.strides is None else 2
        expected = _SOURCE[begin : begin + step * each.elements : step]
        assert bytes(found.tolist()) == expected
        assert (found.dtype, found.is_contiguous()) == (torch.uint8, True)
    assert end == len(data)


def test_large_tensors_share_blocks() -> None:
    """For blocks, the data of a large tensor has its offset in the source, modulo a block, wherever
    in the data file its own file begins.
    """
    layout = DcpWriter().lay_out(TENSORS, {}, 4096)
    copies = [
        (offset, piece.extent.offset)
        for offset, piece in layout.placed()
        if isinstance(piece, Copy) and piece.extent.length > 65_536
    ]
    assert len(copies) == 2
    assert all((offset - source) % 4096 == 0 for offset, source in copies)


def test_checksums_go_along_or_are_checked() -> None:
    """A whole storage keeps the checksum that is recorded for it; of a view, of which only the
    elements are written, it is checked.
    """
    pieces = DcpWriter().lay_out(TENSORS, {}).pieces
    assert [piece.crc32 for piece in pieces if isinstance(piece, Copy)] == [
        each.storage.crc32 for each in TENSORS if each.strides is None and each.elements
    ]
    assert [piece.tensor for piece in pieces if isinstance(piece, Check)] == [
        each.name for each in TENSORS if each.strides is not None
    ]


@pytest.mark.parametrize("dtype", ["F4", "F6_E2M3"])
def test_types_that_torch_lacks_or_counts_in_pairs_are_refused(dtype: str) -> None:
    """The error names the tensor, when it is measured already."""
    storage = Storage(Extent("source", 0, 6), "w")
    odd = Tensor("w", DTYPES[dtype], (48 // DTYPES[dtype].bits,), storage)
    with pytest.raises(UsageError) as caught:
        DcpWriter().measure([odd], {})
    assert caught.value.tensor == "w"


def test_a_name_that_torch_cannot_have_is_refused() -> None:
    """Also where a tensor of the same type and shape was measured before."""
    with pytest.raises(UsageError, match="not valid Unicode"):
        DcpWriter().measure([tensor("b", 0, 3), tensor("b\udcff", 3, 3)], {})


def test_files_are_numbered_like_processes() -> None:
    """The first file is that of rank 0."""
    assert [DcpListing().name(number) for number in (1, 11)] == ["__0_0.distcp", "__10_0.distcp"]
