"""Compare two checkpoints tensor by tensor, whatever their formats and shards: names and headers.

Bytes are compared by `twins` while a file of ours is read, and by `strided` where a tensor is a
view with strides, whose elements do not lie one after another.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from shardctl.findings import Finding
from shardctl.layout import tensor_piece
from shardctl.model import Checkpoint, Tensor
from shardctl.planning.plan import MOST_GROWTH
from shardctl.stores.base import Store
from shardctl.streams.gather import feed

_HINT_SAME = "the two checkpoints are not the same model: check which one you need"

#: Whether a tensor of that name may be in a file that could not be read whole.
MayHold = Callable[[str], bool]


class Hash(Protocol):
    """A hash object of hashlib."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Compared:
    """One tensor that both sides have.

    `nbytes` were read to compare it, beside those of our file; `sha256` is that of its elements,
    where that was wanted and they are equal.
    """

    name: str
    nbytes: int
    sha256: str | None
    findings: tuple[Finding, ...]


def named_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return every tensor by name, with recorded aliases."""
    tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
    for alias, kept in checkpoint.aliases.items():
        tensors[alias] = replace(tensors[kept], name=alias)
    return tensors


def compare_headers(
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    other: str,
    lost: tuple[MayHold, MayHold],
) -> Iterator[Finding]:
    """Yield what differs in names, dtypes and shapes; `other` is how the other side is called.

    `lost` say of each side whether a tensor may be in a file that could not be read whole: that is
    no difference.
    """
    lost_here, lost_there = lost
    for name, tensor in ours.items():
        twin = theirs.get(name)
        if twin is None:
            if not lost_there(name):
                yield difference("against-extra", tensor, f"missing in '{other}'")
        elif twin.dtype != tensor.dtype:
            message = f"{tensor.dtype.name} here, {twin.dtype.name} in '{other}'"
            yield difference("against-dtype", tensor, message)
        elif twin.shape != tensor.shape:
            message = f"{list(tensor.shape)} here, {list(twin.shape)} in '{other}'"
            yield difference("against-shape", tensor, message)
    for name, twin in theirs.items():
        if name not in ours and not lost_here(name):
            yield difference("against-missing", twin, f"only in '{other}'")


def data_differs(tensor: Tensor, other: str, at: int) -> Finding:
    """Return the finding for other bytes from byte `at` of a tensor's elements on.

    Elements are counted in row-major order. In a view with strides they lie elsewhere in the file:
    then the offset is that of the view.
    """
    found = difference(
        "against-data",
        tensor,
        f"the bytes differ from those in '{other}', first at byte {at:,} of the tensor",
    )
    return found if tensor.strides is not None else replace(found, offset=tensor.span.offset + at)


def first_difference(one: bytes | memoryview, other: bytes) -> int:
    """Return the offset of the first byte in which two texts of one length differ.

    Their length where they are equal. Halves are compared, which takes no loop over the bytes.
    """
    low, high = 0, len(one)
    if one == other:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def alike(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return the tensors with equal names, dtypes and shapes, whose bytes can be compared."""
    return [
        (tensor, twin)
        for name, tensor in ours.items()
        if (twin := theirs.get(name)) is not None
        and (twin.dtype, twin.shape) == (tensor.dtype, tensor.shape)
    ]


def compared_parts(tensor: Tensor, twin: Tensor) -> tuple[Tensor, Tensor]:
    """Return what of two tensors has to be read to compare them.

    That is themselves, unless both repeat the same bytes: a view of a few bytes can have more
    elements than anybody can read. Where both repeat along a dimension, once is enough; where they
    still are the same view of few bytes, the elements that it shares are compared once, as tensors
    of fewer dimensions.
    """
    if tensor.strides is None or twin.strides is None:
        return tensor, twin
    shape = tuple(
        1 if not step and not other and size else size
        for size, step, other in zip(tensor.shape, tensor.strides, twin.strides, strict=True)
    )
    mine, its = replace(tensor, shape=shape), replace(twin, shape=shape)
    span = mine.span
    if mine.strides == its.strides and mine.nbytes > MOST_GROWTH * max(span.length, 1):
        return _each_once(mine), _each_once(its)
    return mine, its


def _each_once(tensor: Tensor) -> Tensor:
    """Return a view of the same elements that does not repeat them, in the order of the file.

    Where the steps of dimensions that overlap are not multiples of each other, it is all that lies
    at multiples of their divisor, up to the last element: some of that may not be in `tensor`.
    """
    axes: list[tuple[int, int]] = []
    for step, size in sorted(zip(tensor.strides or (), tensor.shape, strict=True)):
        if size > 1:
            base, count = axes[-1] if axes else (step, 1)
            if step % base == 0 and step <= base * count:  # continues where the one below ends
                axes[-1:] = [(base, count + (size - 1) * step // base)]
            else:
                axes.append((step, size))
    once = _with_axes(tensor, axes)
    if once.nbytes > MOST_GROWTH * once.span.length:
        step = math.gcd(*(step for step, _ in axes))
        reach = sum((size - 1) * step for step, size in axes)
        once = _with_axes(tensor, [(step, reach // step + 1)])
    return once


def _with_axes(tensor: Tensor, axes: list[tuple[int, int]]) -> Tensor:
    """Return a view from the same element on, of other dimensions: step and size, inner first."""
    strides, shape = zip(*reversed(axes), strict=True)
    return replace(tensor, shape=shape, strides=None if strides == (1,) else strides)


def tensor_digest(store: Store, tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's elements, row-major, little-endian as stored, in hex."""
    sha = hashlib.sha256()
    piece = tensor_piece(tensor)
    with store.open(piece.extent.path) as reader:
        feed(reader, piece, sha.update)
    return sha.hexdigest()


def difference(code: str, tensor: Tensor, message: str, hint: str = _HINT_SAME) -> Finding:
    """Return the finding for a tensor that differs from another, with its place in its file."""
    return Finding(
        code,
        "error",
        message,
        hint,
        file=tensor.storage.extent.path,
        tensor=tensor.name,
        offset=tensor.span.offset,
    )
