"""A plan file has exactly its keys, and each has a value that it can have."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.formats.strict_json import parse_object
from shardctl.planning.saved.plan_keys import (
    COMPANION,
    PLAN,
    RUN,
    SETTINGS,
    SOURCE,
    Checks,
    WrongError,
    checked,
    is_texts,
)

ONE: Checks = {"a": lambda value: value == 1}


def test_exactly_these_keys() -> None:
    """A key less or more is refused, and optional keys may be left out."""
    assert checked({"a": 1}, ONE, "") == {"a": 1}
    assert checked({"a": 1}, ONE, "", {"b": bool}) == {"a": 1}
    assert checked({"a": 1, "b": 2}, ONE, "", {"b": bool}) == {"a": 1, "b": 2}
    for value, words in (
        ({}, "has no 'a' in x: it is of an earlier version, or not a plan"),
        ({"a": 1, "c\x1b": 2}, r"has an unknown key 'c\x1b' in x"),
        ({"a": 2}, "has an invalid value for 'a' in x"),
        ([], "has something else than an object in x"),
        (None, "has something else than an object in x"),
    ):
        with pytest.raises(WrongError) as caught:
            checked(value, ONE, " in x")
        assert str(caught.value) == words
    with pytest.raises(WrongError, match="invalid value for 'b'"):
        checked({"a": 1, "b": 0}, ONE, "", {"b": bool})


def test_a_key_that_is_there_twice() -> None:
    """It is refused, since programs differ in which of the two they take."""
    with pytest.raises(WrongError, match="has the key 'a' twice"):
        checked(parse_object('{"a": 1, "a": 1}'), ONE, "")


@pytest.mark.parametrize(
    ("checks", "key", "good", "bad"),
    [
        (RUN, "done", [False], [True, None, 0]),
        (RUN, "up_to_date", [True, False], [0, 1, None]),
        (RUN, "source", ["", "x"], [None, 1, []]),
        (RUN, "total_size", [0, 1 << 70], [-1, True, 1.0, "1", None]),
        (RUN, "companions", [[], ["a"]], ["a", [1], None, {}]),
        (RUN, "max_shard_size", [None, 0, 5], [-1, True, "5"]),
        (
            RUN,
            "plan_id",
            ["0" * 64, "0123456789abcdef" * 4],
            ["0" * 63, "A" * 64, "0" * 64 + "\n", None],
        ),
        (RUN, "room", [{}], [[], None]),
        (PLAN, "layout", ["compact", "shareable"], ["reflink", None, ["compact"]]),
        (PLAN, "block_size", [1, 4096], [0, -1, True, None]),
        (
            PLAN,
            "options",
            [{}, {"a": None, "b": "x", "c": 1, "d": ["x", ["y"]]}],
            [[], {"a": {}}, {"a": [1]}, {"a": 1.5}],
        ),
        (
            COMPANION,
            "content",
            [["sample", "x"], ["version", "y"]],
            [["other", "x"], ["sample"], ["sample", "x", "y"], ["sample", 1], "sample"],
        ),
        (SOURCE, "header_sha256", ["a" * 64, ""], ["a" * 65, None]),
        (SETTINGS, "num_shards", [None, 3], ["3", -1]),
        (
            SETTINGS,
            "rename",
            [[], [["a", "b"]]],
            [[["a"]], [["a", "b", "c"]], [["a", 1]], ["ab"], None],
        ),
        (SETTINGS, "experts_map", [None, [["a", "b"]], [["a", "b", "c"]]], [[["a"]], [[]], "x"]),
        (SETTINGS, "single", [True, False], [None, 1]),
    ],
)
def test_values_of_keys(checks: Checks, key: str, good: list[Any], bad: list[Any]) -> None:
    """Each key takes values of one kind only, and no boolean is a number."""
    for value in good:
        assert checks[key](value), value
    for value in bad:
        assert not checks[key](value), value


def test_lists_of_texts() -> None:
    """Every part is a text."""
    assert is_texts([])
    assert is_texts(["a", ""])
    assert not any(map(is_texts, ("a", ("a",), ["a", None], None)))
