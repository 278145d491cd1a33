"""What every format must hold: inherit from one of the two suites, and define its fixtures.

`WritableFormatSuite` is for a format that can be written. `ReadableFormatSuite` is for one that is
only read, and needs a file of it. Both make sure that a file which was cut or changed is reported,
and that nothing is raised for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

import pytest

from shardctl.findings import Finding
from shardctl.formats.base import FormatReader, FormatWriter
from shardctl.layout import Check, Copy
from shardctl.model import DTYPES, Extent, File, Root, Storage, Tensor
from shardctl.testing.builders import BytesReader, materialise

#: Bytes at either end of a file that `recognise` is given.
END_BYTES = 64
#: Places at which a file is cut or changed, at most.
_PLACES = 2_000


class ReadableFormatSuite:
    """The promises of a format that can be read."""

    @pytest.fixture
    def reader(self) -> FormatReader:
        """What reads files of the format."""
        raise NotImplementedError

    @pytest.fixture
    def sample(self) -> bytes:
        """A valid file of the format, a few KB at most, whose last bytes are needed."""
        raise NotImplementedError

    def test_own_files_are_recognised(self, reader: FormatReader, sample: bytes) -> None:
        """The first and last bytes of a file are enough to claim it."""
        assert reader.recognise(sample[:END_BYTES], sample[-END_BYTES:])
        if reader.recognise(sample[:END_BYTES], b""):
            assert reader.recognise(sample[:END_BYTES], b"\xff" * END_BYTES)

    @pytest.mark.parametrize("data", [b"", b"\0" * 100, b"\xff" * 100, b"plain text\n" * 20])
    def test_other_files_are_not_recognised(self, reader: FormatReader, data: bytes) -> None:
        """Nothing, zeros, ones and text are not claimed."""
        assert not reader.recognise(data[:END_BYTES], data[-END_BYTES:])

    def test_a_valid_file_has_no_findings(self, reader: FormatReader, sample: bytes) -> None:
        """Nothing is reported of a valid file; its path and version are those of the reader."""
        file, findings = read(reader, sample)
        assert findings == []
        assert file is not None
        assert (file.path, file.version.size) == (PATH, len(sample))
        assert list(tensors_in(file.tree))
        assert file.header_sha256

    def test_a_cut_file_is_reported(self, reader: FormatReader, sample: bytes) -> None:
        """Wherever a file ends too early, that is an error in the report, never an exception."""
        for size in _places(len(sample)):
            file, findings = read(reader, sample[:size])
            assert "error" in {finding.severity for finding in findings}, f"cut to {size} bytes"
            assert {finding.file for finding in findings} == {PATH}
            check_within(file, size)

    @pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
    def test_a_changed_byte_raises_nothing(
        self, reader: FormatReader, sample: bytes, mask: int
    ) -> None:
        """Whatever byte is changed, tensors that are still read are within the file."""
        for at in _places(len(sample)):
            changed = bytearray(sample)
            changed[at] ^= mask
            file, _ = read(reader, bytes(changed))
            check_within(file, len(sample))


class WritableFormatSuite(ReadableFormatSuite):
    """The promises of a format that can be read and written."""

    #: Dtypes that its files can hold, by their names in `model.DTYPES`.
    dtypes: ClassVar[tuple[str, ...]] = ("BOOL", "U8", "I64", "F16", "BF16", "F32")
    #: String pairs for the files to write; none for a format without metadata.
    metadata: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def writer(self) -> FormatWriter:
        """What lays out files of the format."""
        raise NotImplementedError

    @pytest.fixture
    def tensors(self) -> list[Tensor]:
        """Tensors of every dtype and of many shapes, which follow each other in SOURCE."""
        made: list[Tensor] = []
        at = 1  # an odd offset: the format has to align data itself
        for dtype in map(DTYPES.__getitem__, self.dtypes):
            for shape in ((), (3,), (2, 3), (0, 3)):
                elements = 1
                for size in shape:
                    elements *= size
                name = f"layers.{len(made)}.[ü] {dtype.name}"
                extent = Extent("source", at, dtype.nbytes(elements))
                made.append(Tensor(name, dtype, shape, Storage(extent, name)))
                at += extent.length
        return made

    @pytest.fixture
    def sample(self, writer: FormatWriter, tensors: list[Tensor]) -> bytes:
        """A file of these tensors."""
        return self.write(writer, tensors)

    def write(self, writer: FormatWriter, tensors: list[Tensor], block: int | None = None) -> bytes:
        """Return a file of these tensors, whose bytes are those of SOURCE."""
        return materialise(writer.lay_out(tensors, self.metadata, block), {"source": SOURCE})

    @pytest.mark.parametrize("block", [None, 512])
    def test_what_is_written_is_read(
        self, reader: FormatReader, writer: FormatWriter, tensors: list[Tensor], block: int | None
    ) -> None:
        """Names, dtypes, shapes and bytes of a written file are those of its tensors."""
        data = self.write(writer, tensors, block)
        file, findings = read(reader, data)
        assert findings == []
        assert file is not None
        assert dict(file.metadata) == dict(self.metadata)
        assert {each.name: contents(each, data) for each in tensors_in(file.tree)} == {
            each.name: contents(each, SOURCE) for each in tensors
        }

    @pytest.mark.parametrize("block", [None, 512])
    @pytest.mark.parametrize("count", [0, 1, 24])
    def test_the_measure_is_exact(
        self, writer: FormatWriter, tensors: list[Tensor], count: int, block: int | None
    ) -> None:
        """The size of a file is known before it is laid out."""
        some = tensors[:count]
        layout = writer.lay_out(some, self.metadata, block)
        assert writer.measure(some, self.metadata, block) == layout.nbytes
        assert len(materialise(layout, {"source": SOURCE})) == layout.nbytes

    def test_a_layout_is_the_same_again(self, writer: FormatWriter, tensors: list[Tensor]) -> None:
        """The same tensors make the same file, wherever and whenever."""
        assert writer.lay_out(tensors, self.metadata) == writer.lay_out(tensors, self.metadata)

    def test_recorded_checksums_are_not_lost(
        self, writer: FormatWriter, tensors: list[Tensor]
    ) -> None:
        """Bytes with a recorded checksum go on together with it, or are compared with it."""
        recorded = [
            replace(tensor, storage=replace(tensor.storage, crc32=7))
            for tensor in tensors
            if tensor.elements
        ]
        pieces = writer.lay_out(recorded, self.metadata).pieces
        kept = {
            piece.extent for piece in pieces if isinstance(piece, Copy | Check) and piece.crc32 == 7
        }
        assert kept == {tensor.storage.extent for tensor in recorded}

    def test_only_the_header_is_read(self, reader: FormatReader, writer: FormatWriter) -> None:
        """Of a file with a megabyte of data, less than a quarter is read."""
        large = Extent("source", 0, len(SOURCE))
        tensor = Tensor("large", DTYPES["U8"], (len(SOURCE),), Storage(large, "large"))
        opened = BytesReader(PATH, self.write(writer, [tensor]))
        assert reader.read(opened, _raise) is not None
        assert sum(length for _, length in opened.ranges) < len(SOURCE) // 4


#: The path of the file that is read, and the bytes that are written.
PATH = "a file"
SOURCE = bytes(range(256)) * 4096


def read(reader: FormatReader, data: bytes) -> tuple[File | None, list[Finding]]:
    """Read a file of these bytes; return what was made out, and what was reported."""
    findings: list[Finding] = []
    file = reader.read(BytesReader(PATH, data), findings.append)
    return file, findings


def tensors_in(tree: Root) -> Iterator[Tensor]:
    """Yield the tensors in nested dictionaries."""
    for value in tree.values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            yield from tensors_in(value)


def contents(tensor: Tensor, data: bytes) -> tuple[str, tuple[int, ...], bytes]:
    """Return the dtype, the shape and the bytes of a tensor in a file of these bytes."""
    span = tensor.span
    return tensor.dtype.name, tensor.shape, data[span.offset : span.end]


def check_within(file: File | None, size: int) -> None:
    """See that the tensors of a file are within its bytes."""
    for tensor in () if file is None else tensors_in(file.tree):
        span = tensor.span
        assert 0 <= span.offset <= span.end <= size, tensor.name


def _places(size: int) -> range:
    return range(0, size, max(1, size // _PLACES))


def _raise(finding: Finding) -> None:
    raise AssertionError(finding)
