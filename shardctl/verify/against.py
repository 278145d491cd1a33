"""Compare two checkpoints tensor by tensor, whatever their formats and shards: names and headers.

Bytes are compared by `twins` while a file of ours is read, and by `strided` where a tensor is a
view with strides, whose elements do not lie one after another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from shardctl.findings import Finding
from shardctl.model import Tensor
from shardctl.stores.base import Store
from shardctl.streams.elements import elements_of

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


def tensor_digest(store: Store, tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's elements, row-major, little-endian as stored, in hex."""
    sha = hashlib.sha256()
    for chunk in elements_of(store.open, tensor):
        sha.update(chunk)
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
