"""The quick reader of indexes accepts what the strict parser does, and nothing else."""

from __future__ import annotations

import json
from random import Random

import pytest

from shardctl.formats.index_scan import scan_index
from shardctl.formats.strict_json import InvalidJsonError, duplicate_keys, parse_object
from shardctl.weight_map import WeightMap

_TENSORS = 3_000  # an index of several pieces


def _index(tensors: int = _TENSORS) -> str:
    weight_map = {f"layers.{number}.weight": f"{number % 7}.bin" for number in range(tensors)}
    document = {"metadata": {"total_size": 7}, "weight_map": weight_map}
    return json.dumps(document, indent=2)


def test_a_long_index_is_read_as_strictly() -> None:
    """An index of many pieces is what the strict parser makes of it, in order."""
    found = scan_index(_index())
    assert found is not None
    weight_map = found["weight_map"]
    assert isinstance(weight_map, WeightMap)
    plain = found | {"weight_map": dict(weight_map)}
    assert json.dumps(plain) == json.dumps(parse_object(_index()))


def test_equal_names_of_shards_are_one_string() -> None:
    """There are no more strings than shards."""
    found = scan_index(_index())
    assert found is not None
    weight_map = found["weight_map"]
    assert isinstance(weight_map, WeightMap)
    assert len({id(shard) for shard in weight_map.values()}) == 7


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\t", "\r\n:")])
def test_spaces_do_not_matter(separators: tuple[str, str]) -> None:
    """Any white space of JSON is accepted, and names with escapes are."""
    document = {"metadata": {}, "weight_map": {f"\u00e4.{i}": "a.bin" for i in range(5_000)}}
    assert scan_index(json.dumps(document, separators=separators)) == document


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "{",
        "}}",
        '{"weight_map": {"a": "b"}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": {}}}',
        '{"weight_map": {"a": "b",}}',
        '{"weight_map": {,"a": "b"}}',
        '{"weight_map": {"a": "b", "a": "c"}}',
        '{"weight_map": {"a": "b"}, "weight_map": {"c": "d"}}',
        '{"weight_map": {}, "weight_map": {"c": "d"}}',
        '{"weight\\u005fmap": {}, "weight_map": {"c": "d"}}',
        '{"weight\\u005fmap": {}, "a\\"weight_map": {"c": "d"}}',
        '{"metadata": {"weight_map": {"a": "b"}}}',
        '{"metadata": {"weight_map": {"a": "b"}}, "weight_map": {"c": "d"}}',
        '{"weight_map": {"a": "b"}, "metadata": {}}',
        '{"weight_map": {"a": "b"}, "c": "}"}',
        '{"weight_map": {"a": "b"}} x',
        '[{"weight_map": {"a": "b"}}]',
        '{"metadata": {"a": 1e999}, "weight_map": {"c": "d"}}',
        '{"metadata": {"a": NaN}, "weight_map": {"c": "d"}}',
        "[" * 100_000 + '"weight_map": {"a": "b"}}',
    ],
)
def test_any_other_form_is_left_to_the_strict_parser(text: str) -> None:
    """What is not an index, or not the usual one, is not accepted."""
    assert scan_index(text) is None


@pytest.mark.parametrize("name", ["layers.0.weight", "layers.2998.weight"])
def test_duplicate_keys_are_not_accepted(name: str) -> None:
    """A name that is listed twice, in one piece or in two, is left to the strict parser."""
    assert scan_index(_index().replace("layers.2999.weight", name)) is None


def test_what_follows_a_weight_map_that_ends_early_is_not_left_out() -> None:
    """A brace between two entries makes another document, which is not accepted."""
    entries = _index().split(",\n")
    for at in range(2, len(entries), 97):
        assert scan_index(",\n".join(entries[:at]) + "},\n" + ",\n".join(entries[at:])) is None


def test_changed_indexes_are_accepted_as_the_strict_parser_accepts_them() -> None:
    """Where a changed character leaves an index acceptable, the strict parser reads it alike."""
    random = Random(1)
    index = _index(50)
    for _ in range(3_000):
        at = random.randrange(len(index))
        changed = index[:at] + random.choice('{}[]",: 019aU\\') + index[at + 1 :]
        found = scan_index(changed)
        if found is None:
            continue
        try:
            strict = parse_object(changed)
        except InvalidJsonError:
            pytest.fail(f"accepted: {changed}")
        assert found == strict
        assert not duplicate_keys(strict)
        assert not duplicate_keys(strict["weight_map"])
