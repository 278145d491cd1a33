"""The weight map of an index, as columns."""

from __future__ import annotations

import pytest

from shardctl.weight_map import WeightMap, names_by_shard, shards_of, weight_map_of

NAMES = ["b", "a", "c", "e", "d"]
SHARDS = ["2", "1", "1", "2", "3"]
PLAIN = dict(zip(NAMES, SHARDS, strict=True))


def test_it_is_a_mapping_in_the_order_of_the_index() -> None:
    """It equals a dictionary of the same members."""
    weight_map = WeightMap(NAMES, SHARDS)
    assert weight_map == PLAIN
    assert list(weight_map) == NAMES
    assert list(weight_map.values()) == SHARDS
    assert len(weight_map) == 5
    assert weight_map["e"] == "2"
    assert weight_map.get("f") is None
    assert "a" in weight_map
    assert repr(weight_map) == repr(PLAIN)


@pytest.mark.parametrize("weight_map", [PLAIN, WeightMap(NAMES, SHARDS)], ids=["dict", "columns"])
def test_shards_and_their_names(weight_map: dict[str, str]) -> None:
    """Shards are in the order of the index, and so are the names in each."""
    assert shards_of(weight_map) == ["2", "1", "3"]
    assert names_by_shard(weight_map) == {"2": ["b", "e"], "1": ["a", "c"], "3": ["d"]}


def test_a_map_of_shards_and_their_names() -> None:
    """The names of one shard come after those of another; one may have none."""
    weight_map = weight_map_of({"2": ["b", "e"], "none": [], "1": ["a"]})
    assert list(weight_map.items()) == [("b", "2"), ("e", "2"), ("a", "1")]
    assert shards_of(weight_map) == ["2", "1"]
