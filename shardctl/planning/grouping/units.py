"""The units that packing divides into shards, and the tensors in them. Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import overload

from shardctl.columns import Tensors, sizes_of
from shardctl.model import Tensor
from shardctl.storages import Unit

#: Numbers of units that are in one shard, in order.
Stretches = Sequence[range]


class Units(Sequence[Unit]):
    """What packing cannot divide, in order. `sizes` are the bytes of each.

    Of a million units that are a tensor each there is nothing but these; a `Unit` is made of one
    that is looked at.
    """

    def __init__(self, tensors: Sequence[Tensor], together: Sequence[Unit] | None = None) -> None:
        """`tensors` are those of all units, and `together` the units: by default, one for each."""
        self._tensors = tensors
        self._together = together
        self.sizes = sizes_of(tensors) if together is None else [unit.nbytes for unit in together]

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Unit]:
        return map(self._unit, range(len(self))) if self._together is None else iter(self._together)

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Unit]: ...
    def __getitem__(self, index: int | slice) -> Unit | Sequence[Unit]:
        if self._together is not None:
            return self._together[index]
        numbers = range(len(self))[index]
        return self._unit(numbers) if isinstance(numbers, int) else [*map(self._unit, numbers)]

    def _unit(self, number: int) -> Unit:
        return Unit((self._tensors[number],), self.sizes[number])

    def nbytes(self, stretches: Stretches) -> int:
        """Return the bytes of some units together."""
        return sum(sum(self.sizes[some.start : some.stop]) for some in stretches)

    def held(self, stretches: Stretches) -> Sequence[Tensor]:
        """Return the tensors of some units, in the order of all.

        Those of one unit need not be neighbours.
        """
        if self._together is None:
            if isinstance(self._tensors, Tensors):
                return self._tensors.taken(stretches)
            return [
                tensor for some in stretches for tensor in self._tensors[some.start : some.stop]
            ]
        units = [unit for some in stretches for unit in self._together[some.start : some.stop]]
        tensors = list(itertools.chain.from_iterable(unit.tensors for unit in units))
        if len(tensors) > len(units):
            tensors.sort(key=lambda tensor: self._places[tensor.name])
        return tensors

    @cached_property
    def _places(self) -> dict[str, int]:
        return {tensor.name: place for place, tensor in enumerate(self._tensors)}
