"""Small stand-ins that many tests share."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from shardctl.errors import SourceChangedError
from shardctl.layout import Crc, Gather, Layout, Literal
from shardctl.model import Version


class BytesReader:
    """A reader of bytes in memory. It remembers each range that was asked for: (offset, length) in
    bytes.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self._path = path
        self._data = data
        self.ranges: list[tuple[int, int]] = []

    @property
    def path(self) -> str:
        return self._path

    @property
    def version(self) -> Version:
        return Version(len(self._data), "memory")

    def read(self, offset: int, length: int) -> bytes:
        self.ranges.append((offset, length))
        data = self._data[offset : offset + length]
        if len(data) != length:
            raise SourceChangedError(
                f"the file ends before byte {offset + length}",
                hint="run again",
                file=self._path,
                offset=offset,
            )
        return data

    def current(self) -> Version:
        return self.version

    def will_stream(self) -> None:
        """Nothing to prepare."""

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def materialise(layout: Layout, sources: Mapping[str, bytes]) -> bytes:
    """The bytes of a layout, the plain way: `sources` are the files that its extents name."""
    parts: list[bytes] = []
    for piece in layout.pieces:
        match piece:
            case Literal(data):
                parts.append(data)
            case Crc(of):
                parts.append(zlib.crc32(parts[of]).to_bytes(4, "little"))
            case Gather():
                parts.append(_gathered(piece, sources))
            case _:
                parts.append(sources[piece.extent.path][piece.extent.offset : piece.extent.end])
    return b"".join(parts)


def _gathered(piece: Gather, sources: Mapping[str, bytes]) -> bytes:
    data = sources[piece.extent.path]
    elements = []
    for place in itertools.product(*map(range, piece.shape)):
        step = sum(index * stride for index, stride in zip(place, piece.strides, strict=True))
        at = piece.extent.offset + step * piece.itemsize
        elements.append(data[at : at + piece.itemsize])
    return b"".join(elements)
