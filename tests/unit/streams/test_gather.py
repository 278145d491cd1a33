"""Strided views are gathered exactly, with few reads and bounded memory."""

from __future__ import annotations

import tracemalloc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shardctl.errors import SourceChangedError
from shardctl.layout import Gather
from shardctl.model import Extent
from shardctl.streams.gather import GAP_BYTES, gather
from shardctl.testing.builders import BytesReader

_DTYPES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}
_BEFORE = b"before"


def _reach(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from the first to the last."""
    return (
        0
        if 0 in shape
        else 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    )


def _pattern(nbytes: int) -> bytes:
    """Bytes that repeat at no power of two, so that no two elements of a test are easily
    mistaken.
    """
    return (bytes(range(251)) * (nbytes // 251 + 1))[:nbytes]


def _torch(data: bytes, itemsize: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """The same by torch."""
    if not data:
        return b""
    flat = torch.frombuffer(bytearray(data), dtype=_DTYPES[itemsize])
    view = flat.as_strided(shape, strides)
    copy = torch.empty(view.numel(), dtype=flat.dtype).copy_(view.reshape(-1))
    return bytes(copy.view(torch.uint8).numpy())


def _gathered(
    data: bytes, itemsize: int, shape: tuple[int, ...], strides: tuple[int, ...], buffer_bytes: int
) -> tuple[list[bytes], BytesReader]:
    reader = BytesReader("x.bin", _BEFORE + data + b"after")
    piece = Gather(Extent("x.bin", len(_BEFORE), len(data)), itemsize, shape, strides)
    return [bytes(chunk) for chunk in gather(reader, piece, buffer_bytes)], reader


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of up to five dimensions with any strides: permuted, narrowed, overlapping,
    repeated.
    """
    shape = tuple(draw(st.lists(st.integers(0, 6), max_size=5)))
    strides = tuple(draw(st.sampled_from((0, 1, 2, 3, 4, 6, 8, 12, 24, 36))) for _ in shape)
    return shape, strides


@given(
    view=views(),
    itemsize=st.sampled_from(sorted(_DTYPES)),
    buffer_bytes=st.sampled_from((1, 7, 64, 500, 1 << 20)),
)
def test_equals_torch(
    view: tuple[tuple[int, ...], tuple[int, ...]], itemsize: int, buffer_bytes: int
) -> None:
    """Whatever the shape, strides, element size and buffer, the bytes are those of torch's
    contiguous copy.
    """
    shape, strides = view
    data = _pattern(_reach(shape, strides) * itemsize)
    chunks, reader = _gathered(data, itemsize, shape, strides, buffer_bytes)
    assert b"".join(chunks) == _torch(data, itemsize, shape, strides)
    assert all(0 < len(chunk) <= buffer_bytes for chunk in chunks)
    assert all(
        len(_BEFORE) <= offset and offset + n <= len(_BEFORE) + len(data)
        for offset, n in reader.ranges
    )


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((), ()),
        ((1,), (7,)),
        ((1, 1, 1), (0, 5, 1)),
        ((300, 200), (1, 300)),
        ((16, 32, 3, 3), (288, 1, 96, 32)),
        ((50, 40), (0, 1)),
        ((40, 50), (1, 0)),
        ((900,), (0,)),
        ((30, 20), (4000, 1)),
        ((20, 30), (1, 4000)),
        ((200, 5), (1, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("buffer_bytes", [100, 4096, 1 << 20])
def test_common_views(shape: tuple[int, ...], strides: tuple[int, ...], buffer_bytes: int) -> None:
    """Scalars, transposed, channels-last, expanded, narrowed and overlapping views are exact at
    every buffer size.
    """
    for itemsize in _DTYPES:
        data = _pattern(_reach(shape, strides) * itemsize)
        chunks, _ = _gathered(data, itemsize, shape, strides, buffer_bytes)
        assert b"".join(chunks) == _torch(data, itemsize, shape, strides)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_nothing(shape: tuple[int, ...]) -> None:
    """An empty view reads and emits nothing."""
    chunks, reader = _gathered(b"", 4, shape, (1,) * len(shape), 64)
    assert chunks == []
    assert reader.ranges == []


def test_element_of_an_odd_size() -> None:
    """Elements that have no memoryview format, of 3 or 12 bytes, are moved whole."""
    for itemsize in (3, 12):
        data = _pattern(6 * itemsize)
        chunks, _ = _gathered(data, itemsize, (3, 2), (1, 3), 1000)
        order = (0, 3, 1, 4, 2, 5)
        assert b"".join(chunks) == b"".join(data[i * itemsize : (i + 1) * itemsize] for i in order)


def test_small_gaps_are_read_through() -> None:
    """What fits a buffer and has no large gaps is read at once."""
    data = _pattern(100 * 100 * 4)
    _, reader = _gathered(data[: 4 * (99 * 100 + 99)], 4, (99, 50), (100, 2), 1 << 20)
    assert len(reader.ranges) == 1


def test_large_gaps_are_left_out() -> None:
    """Far apart elements are read one by one, and not what lies between them."""
    step = GAP_BYTES + 10
    data = _pattern(19 * step + 1)
    chunks, reader = _gathered(data, 1, (20,), (step,), 1 << 20)
    assert b"".join(chunks) == data[::step]
    assert sum(length for _, length in reader.ranges) == 20


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        pytest.param((1024, 512), (1, 1024), id="transposed"),
        pytest.param((400_000,), (5,), id="every-fifth"),
        pytest.param((1 << 19, 2), (0, 1), id="rows-repeated"),
        pytest.param((1 << 20,), (0,), id="one-repeated"),
        pytest.param((8,) * 6, (1, 8, 64, 512, 4096, 32768), id="reversed"),
    ],
)
def test_memory_is_bounded(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """However large the view, three buffers are enough."""
    data = _pattern(_reach(shape, strides) * 4)
    reader = BytesReader("x", data)
    buffer_bytes = 128 * 1024
    tracemalloc.start()
    try:
        for _ in gather(reader, Gather(Extent("x", 0, len(data)), 4, shape, strides), buffer_bytes):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * buffer_bytes + 64 * 1024


def test_reader_errors_pass() -> None:
    """A source that has become shorter is reported as the reader reports it."""
    piece = Gather(Extent("x", 0, 400), 4, (10, 10), (1, 10))
    with pytest.raises(SourceChangedError):
        list(gather(BytesReader("x", bytes(399)), piece))


def test_view_beyond_its_extent() -> None:
    """A view that reaches beyond its extent is never read."""
    reader = BytesReader("x", bytes(1000))
    with pytest.raises(ValueError, match="outside"):
        list(gather(reader, Gather(Extent("x", 0, 396), 4, (10, 10), (1, 10))))
    assert reader.ranges == []
