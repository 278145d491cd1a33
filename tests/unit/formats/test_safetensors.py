"""The safetensors format: what is read agrees with upstream, what is written equals it byte for
byte.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
import json
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import deserialize, safe_open
from safetensors.torch import load, save, save_file

from shardctl.errors import FormatError, UsageError
from shardctl.findings import Finding, strict
from shardctl.formats.safetensors import writer as module
from shardctl.formats.safetensors.reader import SafetensorsReader
from shardctl.formats.safetensors.writer import SafetensorsWriter
from shardctl.layout import Copy, Gather, Layout, Literal
from shardctl.model import DTYPES, Extent, File, Storage, Tensor, Version, contiguous_strides
from shardctl.testing.builders import BytesReader
from tests.support.safetensors_files import framed

_PATH = "model.safetensors"
READER, WRITER = SafetensorsReader(), SafetensorsWriter()
_TORCH_DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32,
    torch.int64, torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.complex64, torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e8m0fnu,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float4_e2m1fn_x2,
)  # fmt: skip

_texts = st.text(st.characters(codec="utf-8"), max_size=12)
_names = _texts.filter(lambda name: name != "__metadata__")
_shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
_metadata = st.dictionaries(_texts, _texts, max_size=4)


def _torch_tensor(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    elements = 1
    for size in shape:
        elements *= size
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(
        0, 2 if dtype is torch.bool else 256, (elements * dtype.itemsize,), generator=generator
    )
    return raw.to(torch.uint8).view(dtype).reshape(shape)


@st.composite
def _state_dicts(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    names = draw(st.lists(_names, unique=True, max_size=6))
    tensors: dict[str, torch.Tensor] = {}
    for seed, name in enumerate(names):
        dtype, shape = draw(st.sampled_from(_TORCH_DTYPES)), draw(_shapes)
        if dtype is torch.float4_e2m1fn_x2 and not shape:
            shape = (1,)  # two elements a byte: a scalar has no such form
        tensors[name] = _torch_tensor(dtype, shape, seed)
    return tensors


def _read(data: bytes) -> File:
    file = READER.read(BytesReader(_PATH, data), strict)
    assert file is not None
    return file


def _tensors(file: File) -> list[Tensor]:
    return [tensor for tensor in file.tree.values() if isinstance(tensor, Tensor)]


def _findings(data: bytes) -> list[Finding]:
    findings: list[Finding] = []
    READER.read(BytesReader(_PATH, data), findings.append)
    return findings


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
    return Tensor(name, DTYPES[dtype], shape, Storage(Extent(_PATH, offset, size), name))


def _header(tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> bytes:
    piece = WRITER.lay_out(tensors, metadata).pieces[0]
    assert isinstance(piece, Literal)
    return piece.data


# --- reading


@given(_state_dicts(), _metadata)
@settings(deadline=None)
def test_reading_agrees_with_upstream(
    state: dict[str, torch.Tensor], metadata: dict[str, str]
) -> None:
    """Names, types, shapes, bytes and metadata are those that safetensors wrote."""
    data = save(
        state, metadata or None
    )  # for no tensors and {} upstream writes a header that nothing reads
    file = _read(data)
    theirs = {
        name: (view["dtype"], tuple(view["shape"]), bytes(view["data"]))
        for name, view in deserialize(data)
    }
    ours = {
        t.name: (t.dtype.name, t.shape, data[t.span.offset : t.span.end]) for t in _tensors(file)
    }
    assert ours == theirs
    assert dict(file.metadata) == metadata


def test_tensors_come_in_file_order(tmp_path: Path) -> None:
    """The order is that of the offsets, as `offset_keys` gives it, whatever the header's own order
    is.
    """
    path = tmp_path / "a.safetensors"
    save_file(
        {"l10": torch.zeros(1), "l2": torch.zeros(2), "z": torch.zeros(1, dtype=torch.int64)}, path
    )
    data = path.read_bytes()
    with safe_open(path, "pt") as theirs:
        assert list(_read(data).tree) == list(theirs.offset_keys())


def test_what_a_file_says_of_its_header() -> None:
    """The digest covers the length and the header, and the data begins after them."""
    data = save({"a": torch.ones(3)}, {"format": "pt"})
    file = _read(data)
    length = 8 + int.from_bytes(data[:8], "little")
    assert file.data_offset == length
    assert file.header_sha256 == hashlib.sha256(data[:length]).hexdigest()
    assert file.format == "safetensors"
    assert file.version.size == len(data)
    assert [tensor.storage.key for tensor in _tensors(file)] == ["a"]


def test_names_are_escaped_by_json_only() -> None:
    """A name is data: paths, markup and control characters come through as they are."""
    names = ["../../x", "", "[bold]", "\x00\x1b[2J\x7f", 'q"\\', "\U0001f600"]
    file = _read(save({name: torch.zeros(1) for name in names}))
    assert sorted(file.tree) == sorted(names)


def test_an_incomplete_download_says_how_much_is_here() -> None:
    """The offsets tell the whole size, so the hint gives both, and the tensors that are here are
    kept.
    """
    data = save({"a": torch.zeros(500), "b": torch.zeros(500)})
    findings: list[Finding] = []
    file = READER.read(BytesReader(_PATH, data[:3000]), findings.append)
    assert [finding.code for finding in findings] == ["file-truncated"]
    assert "3.0 of 4.1 KB" in findings[0].hint
    assert findings[0].offset == 3000
    assert file is not None
    assert list(file.tree) == ["a"]


def test_findings_name_tensor_and_offset() -> None:
    """An overlap is reported at the tensor that begins too early, where it begins in the file."""
    fields = '{"dtype":"U8","shape":[4],"data_offsets":[%d,%d]}'
    header = f'{{"a":{fields % (0, 4)},"b":{fields % (2, 6)}}}'.encode()
    (finding,) = _findings(framed(header, bytes(6)))
    assert (finding.code, finding.tensor, finding.offset) == (
        "tensor-overlap",
        "b",
        8 + len(header) + 2,
    )


def test_several_faults_are_all_found() -> None:
    """A collecting report hears of each tensor's own fault."""
    root = {
        "a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 8]},
        "c": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]},
    }
    header = json.dumps(root).encode()
    found = {(f.code, f.tensor) for f in _findings(framed(header, bytes(20)))}
    assert found == {
        ("tensor-dtype-unknown", "a"),
        ("tensor-size-mismatch", "b"),
        ("tensor-hole", "c"),
        ("file-trailing-bytes", None),
    }


def test_a_flood_of_faults_is_cut_short() -> None:
    """Of one code a hundred are reported, then how many more there are."""
    header = ("{" + ",".join(f'"{i}":0' for i in range(1234)) + "}").encode()
    findings = _findings(framed(header))
    assert len(findings) == 101
    assert "1,134 more" in findings[-1].message


def test_json_errors_give_the_byte() -> None:
    """The offset counts bytes, not characters, and from the start of the file."""
    header = '{"é":x}'.encode()
    (finding,) = _findings(framed(header))
    assert finding.offset == 8 + header.index(b"x")


@given(st.binary(max_size=200), st.booleans())
def test_no_input_breaks_the_reader(data: bytes, in_frame: bool) -> None:
    """Whatever the bytes are, they are read or refused as a format error."""
    if in_frame:
        data = framed(data)
    with contextlib.suppress(FormatError):
        READER.read(BytesReader(_PATH, data), strict)


@given(_state_dicts(), st.data())
@settings(deadline=None)
def test_flipped_bytes_are_accepted_only_where_upstream_accepts(
    state: dict[str, torch.Tensor], draw: st.DataObject
) -> None:
    """A file with a changed byte in its header is never read here while upstream refuses it."""
    data = bytearray(save(state))
    place = draw.draw(st.integers(0, 7 + int.from_bytes(data[:8], "little")))
    data[place] = draw.draw(st.integers(0, 255))
    try:
        file = _read(bytes(data))
    except FormatError:
        return
    theirs = {
        name: (view["dtype"], tuple(view["shape"])) for name, view in deserialize(bytes(data))
    }
    assert {t.name: (t.dtype.name, t.shape) for t in _tensors(file)} == theirs


def test_a_tensor_takes_less_than_a_kilobyte() -> None:
    """What is kept of a header of many tensors is under 1 KB each."""
    count = 20_000
    fields = (
        f'"model.layers.{i}.weight":{{"dtype":"F32","shape":[64,64],'
        f'"data_offsets":[{i << 14},{i + 1 << 14}]}}'
        for i in range(count)
    )
    header = ("{" + ",".join(fields) + "}").encode()
    reader = BytesReader(_PATH, framed(header))
    tracemalloc.start()
    try:
        file = READER.read(_LargerReader(reader, count << 14), strict)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file is not None
    assert len(file.tree) == count
    assert kept < 1000 * count


class _LargerReader(BytesReader):
    """The header of a file whose data need not exist: `more` bytes of it follow."""

    def __init__(self, reader: BytesReader, more: int) -> None:
        super().__init__(reader.path, reader.read(0, reader.version.size))
        self._more = more

    @property
    def version(self) -> Version:
        return Version(super().version.size + self._more, "memory")


def test_garbage_collection_goes_on() -> None:
    """Reading leaves the collector as it was, also where the report raises."""
    assert gc.isenabled()
    with pytest.raises(FormatError):
        READER.read(BytesReader(_PATH, b""), strict)
    assert gc.isenabled()


# --- recognising


@pytest.mark.parametrize(
    "head",
    [
        save({"a": torch.zeros(1)}),
        framed(b"  {}", length=4),
        framed(b" " * 200, length=200),
        framed(b'{"a":', length=135_000_000),
        framed("", length=64),
        framed(b'\xef\xbb\xbf{"a":', length=64),
    ],
)
def test_recognised(head: bytes) -> None:
    """A plausible length and the start of an object claim to be safetensors, damaged or not."""
    assert READER.recognise(head[:64], head[-64:])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        bytes(64),
        b"PK\x03\x04" + bytes(60),
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
        b'{"metadata": {"total_size": 1}}',
        b"version https://git-lfs.github.com/spec/v1",
        b"<!DOCTYPE html>",
        framed(b"[1]", length=64),
        framed(b"{", length=1),
    ],
)
def test_not_recognised(head: bytes) -> None:
    """Other formats, text and zeros do not."""
    assert not READER.recognise(head, head)


# --- writing


@given(_state_dicts(), st.dictionaries(_texts, _texts, max_size=1), st.randoms())
@settings(deadline=None)
def test_written_as_upstream_does(
    state: dict[str, torch.Tensor], metadata: dict[str, str], random: Random
) -> None:
    """With at most one metadata key, the file equals that of `safetensors.torch.save`, byte for
    byte.
    """
    data = save(state, metadata or None)
    tensors = _tensors(_read(data))
    random.shuffle(tensors)
    layout = WRITER.lay_out(tensors, metadata)
    assert _materialise(layout, data) == data


def test_save_file_is_equalled(tmp_path: Path) -> None:
    """The same holds for `save_file`, over every type that torch has and names that need
    escapes.
    """
    state = {
        f"t\n{i}\x1f\x7f\u2028é": _torch_tensor(dtype, (2, 3), i)
        for i, dtype in enumerate(_TORCH_DTYPES)
    }
    state |= {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 7),
        '"\\\b\f\r\t/': torch.ones(1),
    }
    path = tmp_path / "a.safetensors"
    save_file(state, path, {"format": "pt"})
    data = path.read_bytes()
    layout = WRITER.lay_out(_tensors(_read(data))[::-1], {"format": "pt"})
    assert _materialise(layout, data) == data
    assert [type(piece) for piece in layout.pieces] == [Literal, Copy]


@given(_state_dicts(), _metadata)
@settings(deadline=None)
def test_measure_is_exact(state: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """`measure` gives the size of the file that `lay_out` gives."""
    data = save(state)
    tensors = _tensors(_read(data))
    layout = WRITER.lay_out(tensors, metadata)
    assert WRITER.measure(tensors, metadata) == layout.nbytes == len(_materialise(layout, data))


@given(_state_dicts(), _metadata, st.sampled_from([512, 4096]), st.randoms())
@settings(deadline=None)
def test_shareable_reads_as_ever(
    state: dict[str, torch.Tensor], metadata: dict[str, str], block: int, random: Random
) -> None:
    """A shareable file has the measured size and the order that was asked for, and upstream reads
    the same from it.
    """
    data = save(state)
    tensors = _tensors(_read(data))
    random.shuffle(tensors)
    layout = WRITER.lay_out(tensors, metadata, block)
    written = _materialise(layout, data)
    assert WRITER.measure(tensors, metadata, block) == layout.nbytes == len(written)
    assert [tensor.name for tensor in _tensors(_read(written))] == [
        tensor.name for tensor in tensors
    ]
    assert dict(deserialize(written)) == dict(deserialize(data))


def _bytes_at(name: str, path: str, offset: int, length: int) -> Tensor:
    return Tensor(name, DTYPES["U8"], (length,), Storage(Extent(path, offset, length), name))


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


@given(_metadata)
def test_metadata_comes_back(metadata: dict[str, str]) -> None:
    """Metadata of several keys is sorted, and reads back equal."""
    data = _header([], metadata)
    assert dict(_read(data).metadata) == metadata
    root = json.loads(data[8:])
    assert list(root.get("__metadata__", {})) == sorted(metadata)
    assert ("__metadata__" in root) == bool(metadata)


def test_strided_views_are_gathered() -> None:
    """A transposed view, an expanded one and a slice load as torch's own contiguous copies."""
    base = torch.arange(12, dtype=torch.int32)
    source = base.numpy().tobytes()
    storage = Storage(Extent(_PATH, 0, len(source)), "0")
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
    assert len(WRITER.lay_out(_tensors(_read(data)), {}).pieces) == 2


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
    storage = Storage(Extent(_PATH, 0, 4), "0")
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


def test_text_is_not_a_header() -> None:
    """Eight characters of text are far too large a length; a header that is too large is one."""
    recognise = SafetensorsReader().recognise
    assert not recognise(b'        {"a": 1}', b"")
    assert not recognise(b"\n" * 8 + b"{}", b"")
    assert recognise((2**40 - 1).to_bytes(8, "little") + b"{", b"")
    assert not recognise((1).to_bytes(8, "little") + b"{", b"")
