"""Tensors that are ranges of flat vectors: one range, or several one after another."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from shardctl.model import Assembled, Box, Dtype, Extent, Storage, Tensor, made_tensor
from shardctl.storages import own_storage


class Vector:
    """Tensors of one dimension and one dtype, which follow one another."""

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._parts = parts
        self._ends = tuple(accumulate(part.elements for part in parts))

    @property
    def elements(self) -> int:
        """The elements of all parts together."""
        return self._ends[-1] if self._ends else 0

    def stretch(self, begin: int, length: int) -> Iterator[Tensor]:
        """Yield views of `length` elements from element `begin`: one of each part that has some.

        Those past the end are left out.
        """
        end = begin + length
        for number in range(bisect.bisect_right(self._ends, begin), len(self._parts)):
            part, part_end = self._parts[number], self._ends[number]
            low = max(begin, part_end - part.elements)
            high = min(end, part_end)
            if low >= end:
                return
            if low < high:
                offset = part.offset + low - (part_end - part.elements)
                yield Tensor("", part.dtype, (high - low,), part.storage, offset)


def joined(
    name: str, dtype: Dtype, shape: tuple[int, ...], pieces: Iterable[Tensor], path: str
) -> Tensor:
    """Return the tensor whose elements, row-major, are those of the pieces one after another.

    The pieces have one dimension each, as many elements as the shape together, and are contiguous.
    `path` is the file of a tensor without elements. The tensor shares its storage with no other.
    """
    held = tuple(piece for piece in pieces if piece.elements)
    if not held:
        return Tensor(name, dtype, shape, Storage(Extent(path, 0, 0), f"empty {name}"))
    if len(held) == 1:
        return own_storage(Tensor(name, dtype, shape, held[0].storage, held[0].offset))
    begins = accumulate((piece.elements for piece in held), initial=0)
    boxes = tuple(Box((begin,), piece) for begin, piece in zip(begins, held, strict=False))
    grid = (sum(piece.elements for piece in held),)
    return made_tensor(name, dtype, shape, Assembled(grid, boxes), f"joined {name}")
