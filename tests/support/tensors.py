"""Tensors and checkpoints of the model, without a file."""

from __future__ import annotations

from typing import Any

from shardctl.layout import Gather, view_of
from shardctl.model import DTYPES, Checkpoint, Extent, File, Storage, Tensor, Version
from shardctl.streams.gather import gather
from shardctl.testing.builders import BytesReader

#: The type of the floats below.
F32 = DTYPES["F32"]


def floats(name: str, elements: int, offset: int = 0, storage: Storage | None = None) -> Tensor:
    """A flat tensor of floats, in a new storage unless one is given."""
    own = storage or Storage(Extent("models/f", offset, 4 * elements), name)
    return Tensor(name, F32, (elements,), own)


def checkpoint_of(*tensors: Tensor, format_name: str = "bin", **fields: Any) -> Checkpoint:
    """A checkpoint of one file with those tensors."""
    tree = {tensor.name: tensor for tensor in tensors}
    file = File("models/f", format_name, Version(1000, "mark"), {**tree}, header_sha256="00")
    return Checkpoint(format_name, (file,), tensors, **fields)


def stored_bits(tensor: Tensor, data: bytes) -> bytes:
    """Return the bytes of a tensor's elements, row-major, from the bytes of its file."""
    if not tensor.elements:
        return b""
    piece = view_of(tensor)
    if isinstance(piece, Gather):
        return b"".join(gather(BytesReader("file", data), piece))
    return data[piece.extent.offset : piece.extent.end]
