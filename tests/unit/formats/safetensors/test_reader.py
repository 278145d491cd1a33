"""What is read of a safetensors file agrees with upstream, whatever is in it."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import deserialize, safe_open
from safetensors.torch import save, save_file

from shardctl.errors import FormatError
from shardctl.findings import Finding, strict
from shardctl.formats.limits import MAX_HEADER_BYTES, MAX_READ_HEADER_BYTES
from shardctl.formats.safetensors.reader import SafetensorsReader
from shardctl.model import Version
from shardctl.testing.builders import BytesReader
from tests.support.safetensors_files import framed
from tests.support.safetensors_states import (
    PATH,
    metadata_pairs,
    read_file,
    state_dicts,
    tensors_of,
)

READER = SafetensorsReader()


def _findings(data: bytes) -> list[Finding]:
    findings: list[Finding] = []
    READER.read(BytesReader(PATH, data), findings.append)
    return findings


@given(state_dicts(), metadata_pairs)
@settings(deadline=None)
def test_reading_agrees_with_upstream(
    state: dict[str, torch.Tensor], metadata: dict[str, str]
) -> None:
    """Names, types, shapes, bytes and metadata are those that safetensors wrote."""
    data = save(
        state, metadata or None
    )  # for no tensors and {} upstream writes a header that nothing reads
    file = read_file(data)
    theirs = {
        name: (view["dtype"], tuple(view["shape"]), bytes(view["data"]))
        for name, view in deserialize(data)
    }
    ours = {
        t.name: (t.dtype.name, t.shape, data[t.span.offset : t.span.end]) for t in tensors_of(file)
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
        assert list(read_file(data).tree) == list(theirs.offset_keys())


def test_what_a_file_says_of_its_header() -> None:
    """The digest covers the length and the header, and the data begins after them."""
    data = save({"a": torch.ones(3)}, {"format": "pt"})
    file = read_file(data)
    length = 8 + int.from_bytes(data[:8], "little")
    assert file.data_offset == length
    assert file.header_sha256 == hashlib.sha256(data[:length]).hexdigest()
    assert file.format == "safetensors"
    assert file.version.size == len(data)
    assert [tensor.storage.key for tensor in tensors_of(file)] == ["a"]


def test_names_are_escaped_by_json_only() -> None:
    """A name is data: paths, markup and control characters come through as they are."""
    names = ["../../x", "", "[bold]", "\x00\x1b[2J\x7f", 'q"\\', "\U0001f600"]
    file = read_file(save({name: torch.zeros(1) for name in names}))
    assert sorted(file.tree) == sorted(names)


def test_an_incomplete_download_says_how_much_is_here() -> None:
    """The offsets tell the whole size, so the hint gives both, and the tensors that are here are
    kept.
    """
    data = save({"a": torch.zeros(500), "b": torch.zeros(500)})
    findings: list[Finding] = []
    file = READER.read(BytesReader(PATH, data[:3000]), findings.append)
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
        READER.read(BytesReader(PATH, data), strict)


@given(state_dicts(), st.data())
@settings(deadline=None)
def test_flipped_bytes_are_accepted_only_where_upstream_accepts(
    state: dict[str, torch.Tensor], draw: st.DataObject
) -> None:
    """A file with a changed byte in its header is never read here while upstream refuses it."""
    data = bytearray(save(state))
    place = draw.draw(st.integers(0, 7 + int.from_bytes(data[:8], "little")))
    data[place] = draw.draw(st.integers(0, 255))
    try:
        file = read_file(bytes(data))
    except FormatError:
        return
    theirs = {
        name: (view["dtype"], tuple(view["shape"])) for name, view in deserialize(bytes(data))
    }
    assert {t.name: (t.dtype.name, t.shape) for t in tensors_of(file)} == theirs


def test_a_tensor_takes_less_than_a_kilobyte() -> None:
    """What is kept of a header of many tensors is under 1 KB each."""
    count = 20_000
    fields = (
        f'"model.layers.{i}.weight":{{"dtype":"F32","shape":[64,64],'
        f'"data_offsets":[{i << 14},{i + 1 << 14}]}}'
        for i in range(count)
    )
    header = ("{" + ",".join(fields) + "}").encode()
    reader = BytesReader(PATH, framed(header))
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
        READER.read(BytesReader(PATH, b""), strict)
    assert gc.isenabled()


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


def test_text_is_not_a_header() -> None:
    """Eight characters of text are far too large a length; a header that is too large is one."""
    recognise = SafetensorsReader().recognise
    assert not recognise(b'        {"a": 1}', b"")
    assert not recognise(b"\n" * 8 + b"{}", b"")
    assert recognise((2**40 - 1).to_bytes(8, "little") + b"{", b"")
    assert not recognise((1).to_bytes(8, "little") + b"{", b"")


def test_lengths_at_their_limits() -> None:
    """A header of upstream's limit is too long by one byte only; what it costs to say so is eight
    bytes.
    """
    for length, code in (
        (MAX_HEADER_BYTES, "file-truncated"),
        (MAX_HEADER_BYTES + 1, "header-too-large"),
        (MAX_READ_HEADER_BYTES + 1, "header-too-large"),
        (2**64 - 1, "header-too-large"),
    ):
        reader = BytesReader(PATH, length.to_bytes(8, "little") + b"{" * 100)
        findings: list[Finding] = []
        assert READER.read(reader, findings.append) is None
        (finding,) = findings
        assert (finding.code, finding.whole) == (code, False)
        assert sum(nbytes for _, nbytes in reader.ranges) <= 8


@pytest.mark.parametrize(
    ("data", "code", "offset"),
    [
        (b"", "file-empty", 0),
        (bytes(7), "file-truncated", 7),
        (bytes(8), "file-zero-filled", 0),
        (bytes(100), "file-zero-filled", 0),
        (bytes(8) + b"x", "header-invalid", 0),
        (framed(b"{", length=1), "header-invalid", 0),
        (framed(b"{}", length=3), "file-truncated", 10),
    ],
)
def test_files_that_have_no_header(data: bytes, code: str, offset: int) -> None:
    """Each way in which a download ends early is distinguished, with its place."""
    (finding,) = _findings(data)
    assert (finding.code, finding.severity, finding.offset) == (code, "error", offset)


def test_white_space_before_the_object_is_a_warning() -> None:
    """The file is read here, and some readers refuse it."""
    (finding,) = _findings(framed(b" {}"))
    assert (finding.code, finding.severity, finding.offset) == ("header-invalid", "warning", 8)
