"""The weight map of an index: in which shard each tensor is.

A million names take a large table, and most uses only need the shards, or the names in each: so
the names are kept as they are listed, and a table is made once a name is looked up.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property


class WeightMap(Mapping[str, str]):
    """The shard of each tensor by its name.

    `names` are in the order of the index, each once, and `shards` has that of each.
    """

    def __init__(self, names: Sequence[str], shards: Sequence[str]) -> None:
        self.names = names
        self.shards = shards

    @cached_property
    def _table(self) -> dict[str, str]:
        return dict(zip(self.names, self.shards, strict=True))

    def __getitem__(self, name: str) -> str:
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return repr(self._table)


def shards_of(weight_map: Mapping[str, str]) -> list[str]:
    """Return each shard once, in the order of the index."""
    known = weight_map.shards if isinstance(weight_map, WeightMap) else weight_map.values()
    return list(dict.fromkeys(known))


def names_by_shard(weight_map: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of the tensors in each shard."""
    if not isinstance(weight_map, WeightMap):
        return names_by_shard(WeightMap(list(weight_map), list(weight_map.values())))
    shards: dict[str, list[str]] = {}
    begin = 0
    # Names that follow one another are mostly in one shard.
    for shard, run in itertools.groupby(weight_map.shards):
        end = begin + len(list(run))
        shards.setdefault(shard, []).extend(weight_map.names[begin:end])
        begin = end
    return shards


def weight_map_of(shards: Mapping[str, Sequence[str]]) -> WeightMap:
    """Return the weight map of shards with the names of their tensors; no name is in two."""
    names = itertools.chain.from_iterable(shards.values())
    repeated = (itertools.repeat(shard, len(some)) for shard, some in shards.items())
    return WeightMap(list(names), list(itertools.chain.from_iterable(repeated)))
