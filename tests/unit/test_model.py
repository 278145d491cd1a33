"""The nouns: element types, extents, tensors as views of storages."""

from __future__ import annotations

import pytest
import torch

from shardctl.model import DTYPES, Dtype, Extent, Storage, Tensor, contiguous_strides


def view(
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    offset: int = 0,
    dtype: str = "F32",
) -> Tensor:
    """A tensor in a storage of 1,000 bytes that begins at byte 64."""
    return Tensor("t", DTYPES[dtype], shape, Storage(Extent("f", 64, 1000), "0"), offset, strides)


def test_the_order_of_types_is_that_of_upstreams_enum() -> None:
    """Ranks count up without a gap, from BOOL to U64; what only torch has comes without a rank."""
    ranks = [dtype.rank for dtype in DTYPES.values() if dtype.rank is not None]
    assert ranks == list(range(22))
    assert (DTYPES["BOOL"].rank, DTYPES["U64"].rank) == (0, 21)
    assert {name for name, dtype in DTYPES.items() if dtype.rank is None} == {
        "complex32",
        "complex128",
    }


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("BOOL", torch.bool), ("BF16", torch.bfloat16), ("F8_E4M3", torch.float8_e4m3fn),
     ("C64", torch.complex64), ("complex32", torch.complex32), ("complex128", torch.complex128),
     ("U64", torch.uint64)],
)  # fmt: skip
def test_widths_are_torchs(name: str, theirs: torch.dtype) -> None:
    """An element has as many bytes as torch says."""
    assert DTYPES[name].itemsize == theirs.itemsize


def test_elements_below_a_byte() -> None:
    """Two 4-bit elements are one byte; three are not a whole number of bytes, and one has
    no size.
    """
    four = Dtype("F4", 4)
    assert four.nbytes(2) == 1
    assert DTYPES["F6_E2M3"].nbytes(4) == 3
    with pytest.raises(ValueError, match="do not fill"):
        four.nbytes(3)
    with pytest.raises(ValueError, match="not whole bytes"):
        assert four.itemsize


def test_a_part_of_an_extent_counts_from_its_start() -> None:
    """A part lies within its extent, the whole and the empty end included."""
    extent = Extent("f", 10, 5)
    assert extent.end == 15
    assert extent.part(2, 3) == Extent("f", 12, 3)
    assert extent.part(0, 5) == extent
    assert extent.part(5, 0) == Extent("f", 15, 0)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 6), (5, 1), (1, -1)])
def test_a_part_beyond_its_extent_is_refused(offset: int, length: int) -> None:
    """What reaches outside raises ValueError."""
    with pytest.raises(ValueError, match="outside"):
        Extent("f", 10, 5).part(offset, length)


@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (2, 0, 3), (1, 4, 1), (5, 1, 2, 3)])
def test_contiguous_strides_are_torchs(shape: tuple[int, ...]) -> None:
    """Row-major strides are those of a fresh tensor in torch."""
    assert contiguous_strides(shape) == torch.empty(shape).stride()


def test_sizes() -> None:
    """A scalar has one element, an empty tensor none."""
    assert (view(()).elements, view(()).nbytes) == (1, 4)
    assert (view((3, 0)).elements, view((3, 0)).nbytes) == (0, 0)
    assert (view((2, 3), dtype="F64").elements, view((2, 3), dtype="F64").nbytes) == (6, 48)


def test_the_span_reaches_from_the_first_element_to_the_last() -> None:
    """Spans are in bytes of the file, whatever the strides; an empty tensor's is empty."""
    assert view((2, 3), offset=2).span == Extent("f", 64 + 8, 24)
    assert view((3, 2), (1, 3)).span == Extent("f", 64, 24)
    assert view((3, 2), (10, 2), offset=1).span == Extent("f", 64 + 4, 4 * 23)
    assert view((5,), (0,)).span == Extent("f", 64, 4)
    assert view((0, 2), (1, 3)).span == Extent("f", 64, 0)


@pytest.mark.parametrize(
    ("strides", "offset"), [(None, 0), (None, 3), ((1, 2), 0), ((1, 2), 3), ((0, 0), 1)]
)
def test_a_tensor_begins_where_its_span_does(strides: tuple[int, ...] | None, offset: int) -> None:
    """The first byte of a tensor is that of its span, and of an empty one that of its storage."""
    tensor = view((2, 2), strides, offset)
    assert tensor.begin == tensor.span.offset == 64 + 4 * offset
    assert view((0, 2)).begin == 64


def test_a_span_beyond_the_storage_is_refused() -> None:
    """A view that its storage does not hold raises ValueError."""
    with pytest.raises(ValueError, match="outside"):
        assert view((251,)).span
    with pytest.raises(ValueError, match="outside"):
        assert view((2,), (250,)).span


def test_tied_tensors_have_one_identity() -> None:
    """The same view under another name is tied; another shape or offset is not, and an empty one is
    tied to nothing.
    """
    other = Tensor("other", DTYPES["F32"], (4,), Storage(Extent("f", 64, 1000), "0"))
    assert view((4,)).identity == other.identity
    assert view((4,)).identity != view((2, 2)).identity
    assert view((4,)).identity != view((4,), offset=4).identity
    assert view((0,)).identity is None


def test_storages_of_two_files_differ() -> None:
    """A key tells storages apart within one file only."""
    assert Storage(Extent("a", 0, 1), "0").identity != Storage(Extent("b", 0, 1), "0").identity
    assert (
        Storage(Extent("a", 0, 1), "0", crc32=7).identity
        == Storage(Extent("a", 0, 1), "0").identity
    )


def test_nouns_are_slotted() -> None:
    """A million tensors must be small: none has a dictionary."""
    assert not hasattr(view((1,)), "__dict__")
    assert not hasattr(view((1,)).storage.extent, "__dict__")
