"""Writing torch's zip files: what is written loads in every way that torch knows, and is laid out
as its own.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.serialization import config

from shardctl.errors import UsageError
from shardctl.findings import strict
from shardctl.formats.torch.zip.layout import Record, lay_out, measure
from shardctl.formats.torch.zip.reader import TorchZipReader
from shardctl.formats.torch.zip.writer import TorchZipWriter, records_of
from shardctl.layout import Check, Copy, Layout, Literal
from shardctl.model import DTYPES, Extent, Storage, Tensor, Version
from shardctl.source.state_dict import flatten
from shardctl.testing.builders import BytesReader, materialise
from tests.support.state_dicts import assert_equal, random_state_dict

_SOURCE = "source.bin"
_GIB = 2**30


def _save(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _tensors(data: bytes) -> tuple[Tensor, ...]:
    file = TorchZipReader().read(BytesReader(_SOURCE, data), strict)
    assert file is not None
    return tuple(flatten(file.tree).tensors)


def _rewrite(value: Mapping[str, torch.Tensor]) -> bytes:
    data = _save(dict(value))
    layout = TorchZipWriter().lay_out(_tensors(data), {})
    written = materialise(layout, {_SOURCE: data})
    assert len(written) == layout.nbytes == TorchZipWriter().measure(_tensors(data), {})
    return written


@pytest.mark.parametrize("seed", range(6))
def test_round_trip(seed: int) -> None:
    """Everything in a checkpoint loads again with `weights_only`, with names, order, types, shapes,
    strides, bits.
    """
    value = random_state_dict(seed)
    found = torch.load(io.BytesIO(_rewrite(value)), weights_only=True)
    assert list(found) == list(value)
    assert_equal(found, value)
    for name, tensor in value.items():
        if tensor.numel() > 1:
            assert found[name].stride() == tensor.stride(), name
    assert found["tied.a"] is found["tied.z"]
    assert (
        found["view.row"].untyped_storage().data_ptr()
        == found["view.tail"].untyped_storage().data_ptr()
    )


@pytest.mark.parametrize("computed", [False, True], ids=["read", "computed"])
@pytest.mark.parametrize("mmap", [False, True], ids=["plain", "mmap"])
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_every_way_of_torch(tmp_path: Path, where: str, mmap: bool, computed: bool) -> None:
    """Memory-mapped, with computed offsets, or without data: torch takes the file every way."""
    value = random_state_dict(11)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(_rewrite(value))
    with config.patch({"load.calculate_storage_offsets": computed}):
        found = torch.load(path, weights_only=True, mmap=mmap, map_location=where)
    assert {name: t.shape for name, t in found.items()} == {
        name: t.shape for name, t in value.items()
    }
    if where == "cpu":
        assert_equal(found, value)


def test_offsets_are_those_that_torch_computes(tmp_path: Path) -> None:
    """In fake mode torch computes each storage's offset, and there it is."""
    value = {f"w{number}": torch.full((number * 37,), float(number)) for number in range(5)}
    path = tmp_path / "m.bin"
    data = _rewrite(value)
    path.write_bytes(data)
    with torch._subclasses.FakeTensorMode():
        fake = torch.load(path, weights_only=True)
    ours = {tensor.name: tensor.storage.extent for tensor in _tensors(data)}
    for name, tensor in fake.items():
        if tensor.numel():
            assert tensor.untyped_storage()._checkpoint_offset == ours[name].offset


def test_it_is_the_layout_of_torch() -> None:
    """A plain state dict comes out as torch.save writes it, record for record, but for torch's own
    serial number.
    """
    value = {"a": torch.arange(5.0), "b": torch.arange(7), "e": torch.empty(0)}
    theirs, ours = _save(value), _rewrite(value)
    with zipfile.ZipFile(io.BytesIO(theirs)) as old, zipfile.ZipFile(io.BytesIO(ours)) as new:
        before = {info.filename: info for info in old.infolist()}
        for info in new.infolist():
            other = before.pop(info.filename)
            assert info.flag_bits == other.flag_bits
            if not info.filename.endswith(
                "data.pkl"
            ):  # ours leaves out what nothing recalls from the memo
                assert new.read(info) == old.read(other), info.filename
        assert set(before) == {"archive/.data/serialization_id"}


@pytest.mark.parametrize("seed", range(3))
def test_python_finds_no_fault(seed: int) -> None:
    """Python's zipfile reads every record and finds every checksum right, also those that were
    computed.
    """
    data = _rewrite(random_state_dict(seed))
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    assert TorchZipReader().read(BytesReader("again", data), strict) is not None


def test_records_begin_at_multiples_of_64() -> None:
    """All data of storages is aligned, as memory-mapped readers need it."""
    for tensor in _tensors(_rewrite(random_state_dict(3))):
        assert tensor.storage.extent.offset % 64 == 0


def test_unused_parts_are_left_out() -> None:
    """Of a storage only the part that its tensors use is written."""
    data = _rewrite({"v": torch.arange(1000.0)[500:510]})
    assert len(data) < 2_000
    found = torch.load(io.BytesIO(data), weights_only=True)["v"]
    assert found.tolist() == list(range(500, 510))
    assert found.untyped_storage().nbytes() == 40


def test_checksums_are_carried_over() -> None:
    """A whole record keeps the checksum that its source records, also a wrong one: no fault gets a
    fresh checksum.
    """
    data = _save({"w": torch.arange(4.0)})
    (tensor,) = _tensors(data)
    wrong = Tensor("w", tensor.dtype, tensor.shape, Storage(tensor.storage.extent, "0", 0x12345678))
    written = materialise(TorchZipWriter().lay_out([wrong], {}), {_SOURCE: data})
    assert zipfile.ZipFile(io.BytesIO(written)).testzip() == "archive/data/0"


def test_a_part_of_a_record_has_the_whole_record_checked() -> None:
    """A part gets a new checksum, so the source's is compared first; a whole record needs none."""
    storage = Storage(Extent(_SOURCE, 100, 16), "0", 7)
    whole = Tensor("w", DTYPES["F32"], (4,), storage)
    part = Tensor("v", DTYPES["F32"], (2,), storage, offset=1)
    checks = [
        [piece for piece in TorchZipWriter().lay_out(some, {}).pieces if isinstance(piece, Check)]
        for some in ([whole], [whole, part], [part])
    ]
    assert checks == [[], [], [Check(storage.extent, 7, "v")]]


@pytest.mark.parametrize("dtype", ["F6_E2M3", "F6_E3M2"])
def test_types_that_torch_lacks(dtype: str) -> None:
    """A type that torch does not have is an error that names the tensor."""
    tensor = Tensor("w", DTYPES[dtype], (4,), Storage(Extent(_SOURCE, 0, 4), "0"))
    with pytest.raises(UsageError) as caught:
        TorchZipWriter().lay_out([tensor], {})
    assert caught.value.tensor == "w"


def test_names_and_shapes_that_torch_lacks() -> None:
    """A lone surrogate and a shape beyond 64 bits are errors when planning."""
    empty = Storage(Extent(_SOURCE, 0, 0), "0")
    for tensor in (
        Tensor("\ud800", DTYPES["U8"], (0,), empty),
        Tensor("w", DTYPES["U8"], (0, 2**64 - 1, 2), empty),
    ):
        with pytest.raises(UsageError):
            TorchZipWriter().lay_out([tensor], {})


_sizes = st.one_of(
    st.integers(0, 300),
    st.sampled_from([2**32 - 2, 2**32 - 1, 2**32, 2**32 + 1, 5 * _GIB, 2**40, 2**45]),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(_sizes, st.booleans()), max_size=6))
def test_measure_is_exact(sizes: list[tuple[int, bool]]) -> None:
    """The measure equals the laid-out size, whatever the sizes, with and without known
    checksums.
    """
    records = _large([size for size, _ in sizes], [1 if known else None for _, known in sizes])
    assert measure(records) == lay_out(records).nbytes


@settings(max_examples=60)
@given(st.lists(st.tuples(_sizes, st.booleans()), max_size=6), st.sampled_from([512, 4096, 16384]))
def test_large_records_keep_their_place_in_blocks(
    sizes: list[tuple[int, bool]], block: int
) -> None:
    """With `block`, every record of 64 KiB or more is at its source's offset in a block, and the
    measure is exact.
    """
    records = _large(
        [size for size, _ in sizes], [1 if known else None for _, known in sizes], block
    )
    layout = lay_out(records, block)
    assert measure(records, block) == layout.nbytes
    for offset, piece in layout.placed():
        if isinstance(piece, Copy):
            modulus, place = (block, piece.extent.offset) if piece.nbytes >= 64 * 1024 else (64, 0)
            assert (offset - place) % modulus == 0


def test_a_shareable_file_loads(tmp_path: Path) -> None:
    """Torch loads a shareable file, mapped or not, and is not told that it may compute offsets."""
    value = {"large": torch.arange(40_000), "small": torch.arange(7.0), "tied": torch.zeros(0)}
    data = _save(value)
    path = tmp_path / "a.bin"
    path.write_bytes(
        materialise(TorchZipWriter().lay_out(_tensors(data), {}, 4096), {_SOURCE: data})
    )
    for mapped in (False, True):
        assert_equal(torch.load(path, mmap=mapped, weights_only=True), value)
    names = {name.partition("/")[2] for name in zipfile.ZipFile(path).namelist()}
    assert not names & {".format_version", ".storage_alignment"}


def _large(
    sizes: list[int], crcs: list[int | None] | None = None, block: int | None = None
) -> list[Record]:
    tensors = []
    at = 0
    for number, size in enumerate(sizes):
        crc = 1 if crcs is None else crcs[number]
        tensors.append(
            Tensor(
                f"w{number}",
                DTYPES["U8"],
                (size,),
                Storage(Extent(_SOURCE, at, size), str(number), crc),
            )
        )
        at += size
    return list(records_of(tensors, block))


class _Sparse(BytesReader):
    """Reads a layout that is far too large for memory: its literals, and zeros for what is small.

    The bytes of a tensor of a page and more must not be asked for.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__("large.bin", b"")
        self._size = layout.nbytes
        self._literals = [
            (at, piece.data) for at, piece in layout.placed() if isinstance(piece, Literal)
        ]

    @property
    def version(self) -> Version:
        return Version(self._size, "sparse")

    def read(self, offset: int, length: int) -> bytes:
        assert offset + length <= self._size
        found, at = b"", offset
        for begin, data in self._literals:
            if begin < offset + length and at < begin + len(data):
                assert begin - at < 4096, f"tensor bytes were read: {offset}+{length}"
                found += bytes(max(begin - at, 0)) + data[max(at - begin, 0) :]
                at = begin + len(data)
        assert at >= offset + length, f"tensor bytes were read: {offset}+{length}"
        return found[:length]


@pytest.mark.parametrize(
    "sizes",
    [[5 * _GIB, 3], [2**32 - 1], [2**32 - 2, 7], [3 * _GIB, 2 * _GIB, 5, 6 * _GIB]],
    ids=str,
)
def test_large_files(sizes: list[int]) -> None:
    """Records of 4 GiB and more, and such that begin past 4 GiB, are read back with their sizes and
    offsets.
    """
    layout = lay_out(_large(sizes))
    file = TorchZipReader().read(_Sparse(layout), strict)
    assert file is not None
    tensors = flatten(file.tree).tensors
    assert [tensor.nbytes for tensor in tensors] == sizes
    assert all(tensor.storage.extent.offset % 64 == 0 for tensor in tensors)


def test_zip64_forms() -> None:
    """The headers have torch's own zip64 forms, byte for byte."""
    layout = lay_out(_large([5 * _GIB, 3]))
    reader = _Sparse(layout)
    file = TorchZipReader().read(reader, strict)
    assert file is not None
    first, second = (tensor.storage.extent for tensor in flatten(file.tree).tensors)
    literal = next(data for at, data in reader._literals if at < first.offset == at + len(data))
    name = literal.rfind(b"archive/data/0")
    assert literal[name + 14 :].startswith(struct.pack("<HHQQ", 1, 16, 5 * _GIB, 0) + b"FB")
    assert reader.read(first.end, 24) == b"PK\x07\x08" + struct.pack("<IQQ", 1, 5 * _GIB, 5 * _GIB)
    header = first.end + 24
    between = reader.read(header, second.offset - header)
    assert between[:4] == b"PK\x03\x04"
    assert between[30 + 14 :].startswith(struct.pack("<HHQ", 1, 8, header) + b"FB")
    # Torch widens the descriptor also where only the record's place needs 64 bits, and counts on it
    # for offsets.
    assert reader.read(second.end, 24) == b"PK\x07\x08" + struct.pack("<IQQ", 1, 3, 3)


def test_a_file_of_more_than_4_gib(tmp_path: Path, run_cli: Any) -> None:
    """A sparse checkpoint of more than 4 GiB is read by its headers alone."""
    layout = lay_out(_large([2**32 + 64, 8]))
    path = tmp_path / "pytorch_model.bin"
    with path.open("wb") as file:
        file.truncate(layout.nbytes)
        for at, piece in layout.placed():
            if isinstance(piece, Literal):
                file.seek(at)
                file.write(piece.data)
    assert "w1" in run_cli("inspect", path).stdout
    found = torch.load(path, weights_only=True, mmap=True)
    assert found["w0"].numel() == 2**32 + 64
    assert zipfile.ZipFile(path).getinfo("archive/data/1").file_size == 8
