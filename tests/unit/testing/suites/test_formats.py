"""The suites for formats fail for a reader or a writer that breaks a promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from shardctl.findings import Report, ignore
from shardctl.formats.safetensors.reader import SafetensorsReader
from shardctl.formats.safetensors.writer import SafetensorsWriter
from shardctl.layout import Layout
from shardctl.model import DTYPES, Extent, File, Storage, Tensor
from shardctl.stores.base import Reader
from shardctl.testing.suites.formats import SOURCE, ReadableFormatSuite, WritableFormatSuite
from tests.support.memory_checkpoints import weights
from tests.support.suites import passes

TESTS = [
    name
    for suite in (ReadableFormatSuite, WritableFormatSuite)
    for name in vars(suite)
    if name.startswith("test_")
]
Pairs = Mapping[str, str]


class Suite(WritableFormatSuite):
    """The suite, of a format with metadata."""

    __test__ = False
    metadata: ClassVar[Mapping[str, str]] = {"format": "pt"}


def tensors() -> list[Tensor]:
    """Three tensors of different types in SOURCE."""
    return [
        Tensor(name, DTYPES[dtype], (4,), Storage(Extent("source", at, 4 * size), name))
        for name, dtype, at, size in (("a", "U8", 1, 1), ("b", "F32", 9, 4), ("c", "I64", 33, 8))
    ]


def checked(test: str, reader: Any = None, writer: Any = None) -> bool:
    """Whether a test passes with this reader and this writer, sound ones by default."""
    return passes(
        Suite,
        test,
        lambda: {
            "reader": reader or SafetensorsReader(),
            "writer": writer or SafetensorsWriter(),
            "tensors": tensors(),
            "sample": weights({"a": b"1234", "b": b"12345678"}),
        },
    )


@pytest.mark.parametrize("test", TESTS)
def test_a_sound_format_passes(test: str) -> None:
    """With a small file of it."""
    assert checked(test)
    assert len(SOURCE) > 1_000_000


class Greedy(SafetensorsReader):
    """Claims every file, and reads all of it."""

    def recognise(self, head: bytes, tail: bytes) -> bool:  # noqa: ARG002 - the fault
        """Claim it."""
        return True

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read it all."""
        reader.read(0, reader.version.size)
        return super().read(reader, report)


class Silent(SafetensorsReader):
    """Claims no file, and reports nothing."""

    def recognise(self, head: bytes, tail: bytes) -> bool:  # noqa: ARG002 - the fault
        """Claim nothing."""
        return False

    def read(self, reader: Reader, report: Report) -> File | None:  # noqa: ARG002 - the fault
        """Read it."""
        return super().read(reader, ignore)


class Raising(SafetensorsReader):
    """Raises what it should report."""

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read it."""
        file = super().read(reader, report)
        if file is None:
            raise ValueError
        return file


class Wide(SafetensorsWriter):
    """Measures a byte too many."""

    def measure(self, tensors: Sequence[Tensor], metadata: Pairs, block: int | None = None) -> int:
        """Measure it."""
        return super().measure(tensors, metadata, block) + 1


class Losing(SafetensorsWriter):
    """Writes no metadata, and drops checksums."""

    def lay_out(
        self, tensors: Sequence[Tensor], metadata: Pairs, block: int | None = None
    ) -> Layout:
        """Lay it out."""
        del metadata
        bare = [
            Tensor(
                each.name,
                each.dtype,
                each.shape,
                Storage(each.storage.extent, each.storage.key),
            )
            for each in tensors
        ]
        return super().lay_out(bare, {}, block)


class Moody(SafetensorsWriter):
    """Writes other metadata each time."""

    count = 0

    def lay_out(
        self, tensors: Sequence[Tensor], metadata: Pairs, block: int | None = None
    ) -> Layout:
        """Lay it out."""
        self.count += 1
        return super().lay_out(tensors, {**metadata, "n": str(self.count)}, block)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        (Greedy, "test_other_files_are_not_recognised"),
        (Greedy, "test_only_the_header_is_read"),
        (Silent, "test_own_files_are_recognised"),
        (Silent, "test_a_cut_file_is_reported"),
        (Raising, "test_a_cut_file_is_reported"),
        (Raising, "test_a_changed_byte_raises_nothing"),
        (Wide, "test_the_measure_is_exact"),
        (Losing, "test_what_is_written_is_read"),
        (Losing, "test_recorded_checksums_are_not_lost"),
        (Moody, "test_a_layout_is_the_same_again"),
    ],
)
def test_a_broken_promise_is_noticed(fault: type, test: str) -> None:
    """By the test of that promise."""
    reads = issubclass(fault, SafetensorsReader)
    assert not checked(test, **{"reader" if reads else "writer": fault()})
