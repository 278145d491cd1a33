"""What is written equals upstream's files byte for byte, or shares most blocks with its source."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import deserialize
from safetensors.torch import load, save, save_file

from shardctl.columns import Columns, Form, Tensors
from shardctl.errors import UsageError
from shardctl.formats.safetensors import writer as module
from shardctl.formats.safetensors.writer import SafetensorsWriter
from shardctl.layout import Copy, Gather, Layout, Literal
from shardctl.model import DTYPES, Extent, Storage, Tensor, contiguous_strides
from tests.support.safetensors_states import (
    PATH,
    TORCH_DTYPES,
    metadata_pairs,
    read_file,
    state_dicts,
    tensors_of,
    texts,
    torch_tensor,
)

WRITER = SafetensorsWriter()


def _gather(piece: Gather, source: bytes) -> bytes:
    out = bytearray()
    for place in itertools.product(*map(range, piece.shape)):
        element = sum(index * stride for index, stride in zip(place, piece.strides, strict=True))
        begin = piece.extent.offset + element * piece.itemsize
        out += source[begin : begin + piece.itemsize]
    return bytes(out)


def _materialise(layout: Layout, source: bytes) -> bytes:
    """The bytes of a layout whose runs and gathers all lie in one source."""
    parts: list[bytes] = []
    for piece in layout.pieces:
        if isinstance(piece, Literal):
            parts.append(piece.data)
        elif isinstance(piece, Copy):
            parts.append(source[piece.extent.offset : piece.extent.end])
        else:
            assert isinstance(piece, Gather)
            parts.append(_gather(piece, source))
    return b"".join(parts)


def _tensor(
    name: str, dtype: str = "F32", shape: tuple[int, ...] = (1,), offset: int = 0
) -> Tensor:
    size = DTYPES[dtype].nbytes(
        Tensor("", DTYPES[dtype], shape, Storage(Extent("", 0, 0), "")).elements
    )
    return Tensor(name, DTYPES[dtype], shape, Storage(Extent(PATH, offset, size), name))


def _header(tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> bytes:
    piece = WRITER.lay_out(tensors, metadata).pieces[0]
    assert isinstance(piece, Literal)
    return piece.data


# --- reading


@given(state_dicts(), st.dictionaries(texts, texts, max_size=1), st.randoms())
@settings(deadline=None)
def test_written_as_upstream_does(
    state: dict[str, torch.Tensor], metadata: dict[str, str], random: Random
) -> None:
    """With at most one metadata key, the file equals that of `safetensors.torch.save`, byte for
    byte.
    """
    data = save(state, metadata or None)
    tensors = tensors_of(read_file(data))
    random.shuffle(tensors)
    layout = WRITER.lay_out(tensors, metadata)
    assert _materialise(layout, data) == data


def test_save_file_is_equalled(tmp_path: Path) -> None:
    """The same holds for `save_file`, over every type that torch has and names that need
    escapes.
    """
    state = {
        f"t\n{i}\x1f\x7f\u2028é": torch_tensor(dtype, (2, 3), i)
        for i, dtype in enumerate(TORCH_DTYPES)
    }
    state |= {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 7),
        '"\\\b\f\r\t/': torch.ones(1),
    }
    path = tmp_path / "a.safetensors"
    save_file(state, path, {"format": "pt"})
    data = path.read_bytes()
    layout = WRITER.lay_out(tensors_of(read_file(data))[::-1], {"format": "pt"})
    assert _materialise(layout, data) == data
    assert [type(piece) for piece in layout.pieces] == [Literal, Copy]


@given(state_dicts(), metadata_pairs)
@settings(deadline=None)
def test_measure_is_exact(state: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """`measure` gives the size of the file that `lay_out` gives."""
    data = save(state)
    tensors = tensors_of(read_file(data))
    layout = WRITER.lay_out(tensors, metadata)
    assert WRITER.measure(tensors, metadata) == layout.nbytes == len(_materialise(layout, data))


@given(state_dicts(), metadata_pairs, st.sampled_from([512, 4096]), st.randoms())
@settings(deadline=None)
def test_shareable_reads_as_ever(
    state: dict[str, torch.Tensor], metadata: dict[str, str], block: int, random: Random
) -> None:
    """A shareable file has the measured size and the order that was asked for, and upstream reads
    the same from it.
    """
    data = save(state)
    tensors = tensors_of(read_file(data))
    random.shuffle(tensors)
    layout = WRITER.lay_out(tensors, metadata, block)
    written = _materialise(layout, data)
    assert WRITER.measure(tensors, metadata, block) == layout.nbytes == len(written)
    assert [tensor.name for tensor in tensors_of(read_file(written))] == [
        tensor.name for tensor in tensors
    ]
    assert dict(deserialize(written)) == dict(deserialize(data))


def _bytes_at(name: str, path: str, offset: int, length: int) -> Tensor:
    return Tensor(name, DTYPES["U8"], (length,), Storage(Extent(path, offset, length), name))


@given(
    st.lists(
        st.tuples(
            texts.filter(lambda name: name != "__metadata__"),
            st.sampled_from(("BOOL", "F32", "I64", "BF16")),
            st.integers(0, 3000),
        ),
        unique_by=lambda each: each[0],
        max_size=12,
    ),
    metadata_pairs,
    st.none() | st.just(512),
)
def test_columns_are_written_as_their_tensors(
    drawn: list[tuple[str, str, int]], metadata: dict[str, str], block: int | None
) -> None:
    """The size and the pieces of a file are those for the objects, and the size is exact."""
    forms = [Form(DTYPES[dtype], (size,), DTYPES[dtype].nbytes(size)) for _, dtype, size in drawn]
    bounds = [*itertools.accumulate((form.nbytes for form in forms), initial=8)]
    names = [name for name, _, _ in drawn]
    tensors = Tensors([Columns(PATH, names, forms, bounds[:-1])])
    layout = WRITER.lay_out(tuple(tensors), metadata, block)
    assert WRITER.measure(tensors, metadata, block) == layout.nbytes
    assert WRITER.measure(tuple(tensors), metadata, block) == layout.nbytes
    assert WRITER.lay_out(tensors, metadata, block) == layout


def test_shareable_keeps_the_place_of_most_bytes() -> None:
    """The one remainder that a file has is that of the most bytes, and of the first of equals."""
    small, large, larger = (
        _bytes_at("a", "f", 100, 600),
        _bytes_at("b", "g", 200, 700),
        _bytes_at("c", "h", 1412, 700),
    )
    for tensors, wanted in (
        ([small], 100),
        ([small, large], (200 - 600) % 512),
        ([large, larger], 200),
    ):
        layout = WRITER.lay_out(tensors, {}, 512)
        assert layout.pieces[0].nbytes % 512 == wanted
    assert layout.shareable(512) == 512


def test_shareable_without_a_whole_block_is_aligned_as_ever() -> None:
    """Where no tensor fills a block there is nothing to share, and the data is aligned to
    8 bytes.
    """
    layout = WRITER.lay_out([_bytes_at("a", "f", 101, 511)], {}, 512)
    assert (
        layout.pieces[0].nbytes
        == WRITER.lay_out([_bytes_at("a", "f", 0, 511)], {}).pieces[0].nbytes
    )


@given(metadata_pairs)
def test_metadata_comes_back(metadata: dict[str, str]) -> None:
    """Metadata of several keys is sorted, and reads back equal."""
    data = _header([], metadata)
    assert dict(read_file(data).metadata) == metadata
    root = json.loads(data[8:])
    assert list(root.get("__metadata__", {})) == sorted(metadata)
    assert ("__metadata__" in root) == bool(metadata)


def test_strided_views_are_gathered() -> None:
    """A transposed view, an expanded one and a slice load as torch's own contiguous copies."""
    base = torch.arange(12, dtype=torch.int32)
    source = base.numpy().tobytes()
    storage = Storage(Extent(PATH, 0, len(source)), "0")
    i32 = DTYPES["I32"]
    tensors = [
        Tensor("transposed", i32, (4, 3), storage, 0, (1, 4)),
        Tensor("expanded", i32, (3, 2), storage, 5, (0, 1)),
        Tensor("slice", i32, (2, 2), storage, 3),
        Tensor("nothing", i32, (0, 3), storage, 0, (4, 1)),
    ]
    loaded = load(_materialise(WRITER.lay_out(tensors, {}), source))
    assert torch.equal(loaded["transposed"], base.view(3, 4).t())
    assert torch.equal(loaded["expanded"], base[5:7].expand(3, 2))
    assert torch.equal(loaded["slice"], base[3:7].view(2, 2))
    assert loaded["nothing"].shape == (0, 3)


def test_the_data_is_aligned() -> None:
    """The header is padded with spaces to a multiple of 8, and never by a whole block."""
    for length in range(16):
        header = _header([_tensor("n" * length)], {})
        assert len(header) % 8 == 0
        assert len(header) - len(header.rstrip(b" ")) < 8


def test_the_file_is_one_copy_where_the_source_is_in_order() -> None:
    """Tensors that neighbour in the source make one run."""
    data = save({f"l{i}": torch.full((3,), float(i)) for i in range(20)})
    assert len(WRITER.lay_out(tensors_of(read_file(data)), {}).pieces) == 2


@pytest.mark.parametrize("name", ["complex32", "complex128"])
def test_types_of_torch_only_are_refused(name: str) -> None:
    """A type that safetensors does not have is a usage error that names the tensor and points to
    .bin.
    """
    with pytest.raises(UsageError) as caught:
        WRITER.lay_out([_tensor("w", name)], {})
    assert caught.value.tensor == "w"
    assert name in caught.value.message
    assert ".bin" in caught.value.hint


def test_a_tensor_named_like_the_metadata_is_refused() -> None:
    """`__metadata__` as a tensor's name would make the file unreadable."""
    with pytest.raises(UsageError) as caught:
        WRITER.measure([_tensor("__metadata__")], {})
    assert caught.value.tensor == "__metadata__"


def test_half_a_surrogate_pair_is_refused() -> None:
    """Neither a name nor metadata may hold what UTF-8 cannot."""
    for tensors, metadata in (
        ([_tensor("\ud800")], {}),
        ([], {"\udfff": "x"}),
        ([], {"x": "\ud800"}),
    ):
        with pytest.raises(UsageError) as caught:
            WRITER.lay_out(tensors, metadata)
        assert caught.value.message.isascii()


def test_a_strided_view_of_part_bytes_is_refused() -> None:
    """Elements that are not whole bytes cannot be gathered."""
    storage = Storage(Extent(PATH, 0, 4), "0")
    with pytest.raises(UsageError) as caught:
        WRITER.lay_out(
            [Tensor("w", DTYPES["F4"], (4, 2), storage, 0, contiguous_strides((2, 4)))], {}
        )
    assert caught.value.tensor == "w"


def test_too_large_a_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header over upstream's limit is an error before anything is written, and the way out is
    more shards.
    """
    tensors = [_tensor("a")]
    size = len(_header(tensors, {})) - 8
    monkeypatch.setattr(module, "MAX_HEADER_BYTES", size)
    assert WRITER.measure(tensors, {}) == 8 + size + 4
    monkeypatch.setattr(module, "MAX_HEADER_BYTES", size - 1)
    with pytest.raises(UsageError) as caught:
        WRITER.lay_out(tensors, {})
    assert "`num_shards`" in caught.value.hint
