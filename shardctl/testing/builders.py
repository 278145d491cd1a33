"""Small checkpoints and readers, made without torch and without the code that is tested."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Mapping, Sequence

from shardctl.errors import SourceChangedError
from shardctl.layout import (
    Assemble,
    Check,
    Convert,
    Copy,
    Crc,
    Elements,
    Gather,
    Layout,
    Literal,
)
from shardctl.model import Version
from shardctl.stores.closing import Closing
from shardctl.streams.convert import converter

#: A tensor to write: its dtype as safetensors spells it, its shape, and its bytes; or bytes alone,
#: for a tensor of dtype U8 with one dimension.
TensorData = bytes | tuple[str, Sequence[int], bytes]


def safetensors_bytes(
    tensors: Mapping[str, TensorData], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return a safetensors file that holds these tensors by name, in this order.

    `metadata` becomes its `__metadata__`; by default it says `format: pt`. Nothing is checked, so
    that invalid files can be made too.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"} if metadata is None else metadata}
    parts: list[bytes] = []
    size = 0
    for name, tensor in tensors.items():
        dtype, shape, own = ("U8", [len(tensor)], tensor) if isinstance(tensor, bytes) else tensor
        offsets = [size, size + len(own)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        parts.append(own)
        size += len(own)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


class BytesReader(Closing):
    """A reader of bytes in memory.

    `ranges` are those that were asked for, in order: (offset, length), in bytes.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self._path = path
        self._data = data
        self.ranges: list[tuple[int, int]] = []

    @property
    def path(self) -> str:
        """The path that was given for the bytes."""
        return self._path

    @property
    def version(self) -> Version:
        """The number of bytes, and always the same mark."""
        return Version(len(self._data), "memory")

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; raises SourceChangedError."""
        self.ranges.append((offset, length))
        data = self._data[offset : offset + length]
        if len(data) != length:
            raise SourceChangedError(
                f"the file ends before byte {offset + length}",
                hint="run the command again",
                file=self._path,
                offset=offset,
            )
        return data

    def current(self) -> Version:
        """Return the version, which never changes."""
        return self.version

    def will_stream(self) -> None:
        """Do nothing: memory needs no hint."""


def materialise(layout: Layout, sources: Mapping[str, bytes]) -> bytes:
    """Return the bytes of a layout, made the plain way.

    `sources` are the contents of the files that its extents name, by path.
    """
    parts: list[bytes] = []
    for piece in layout.pieces:
        match piece:
            case Literal(data):
                parts.append(data)
            case Crc(of, count):
                joined = b"".join(parts[of : of + count])
                parts.append(zlib.crc32(joined).to_bytes(4, "little"))
            case Check():
                parts.append(b"")
            case _:
                parts.append(_elements(piece, sources))
    return b"".join(parts)


def _elements(piece: Elements, sources: Mapping[str, bytes]) -> bytes:
    match piece:
        case Copy():
            return sources[piece.extent.path][piece.extent.offset : piece.extent.end]
        case Gather():
            return _gathered(piece, sources)
        case Assemble():
            return _assembled(piece, sources)
        case Convert():
            return bytes(converter(piece.source, piece.target)(_elements(piece.piece, sources)))


def _assembled(piece: Assemble, sources: Mapping[str, bytes]) -> bytes:
    size = piece.itemsize
    found: dict[tuple[int, ...], bytes] = {}
    for start, view in piece.boxes:
        shape = view.grid if isinstance(view, Assemble) else view.shape
        data = _elements(view, sources)
        for number, index in enumerate(itertools.product(*map(range, shape))):
            place = tuple(one + other for one, other in zip(start, index, strict=True))
            found[place] = data[number * size : (number + 1) * size]
    return b"".join(found[place] for place in itertools.product(*map(range, piece.grid)))


def _gathered(piece: Gather, sources: Mapping[str, bytes]) -> bytes:
    data = sources[piece.extent.path]
    elements = []
    for index in itertools.product(*map(range, piece.shape)):
        step = sum(at * stride for at, stride in zip(index, piece.strides, strict=True))
        begin = piece.extent.offset + step * piece.itemsize
        elements.append(data[begin : begin + piece.itemsize])
    return b"".join(elements)
