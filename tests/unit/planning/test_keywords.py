"""Keyword arguments become options, and a value that a setting does not have is refused."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.errors import UsageError
from shardctl.planning.keywords import options_from, selection_from, transform_from
from shardctl.planning.request import (
    Experts,
    Limits,
    Selection,
    Transform,
    WriteOptions,
)


def test_nothing_asks_for_the_defaults() -> None:
    """Without arguments the source's number of shards is kept, and nothing changes."""
    assert options_from({}) == WriteOptions(limits=None)
    assert selection_from({}) == Selection()
    assert transform_from({}) == Transform(Selection(), None, None)


def test_every_field_has_its_keyword() -> None:
    """Settings are passed on under their own names, `name` as the stem."""
    options = options_from(
        {
            "max_shard_size": "1KB",
            "strict_size": True,
            "name": "x",
            "format": "bin",
            "replace": "same",
            "accept_damage": True,
            "include": "a.*",
            "experts": "stack",
        }
    )
    assert options == WriteOptions(
        limits=Limits(max_shard_bytes=1000, strict=True),
        stem="x",
        format="bin",
        replace="same",
        accept_damage=True,
        selection=Selection(include=("a.*",)),
        experts=Experts("stack"),
    )
    assert options_from({"max_shard_size": 7}).limits == Limits(max_shard_bytes=7)
    assert options_from({"single": True}).limits == Limits()
    assert options_from({"num_shards": 2}).limits == Limits(num_shards=2)


def test_a_text_is_one_pattern() -> None:
    """It is not taken for a sequence of letters."""
    selection = selection_from({"include": "ab", "exclude": ["c", "d"]})
    assert (selection.include, selection.exclude) == (("ab",), ("c", "d"))


@pytest.mark.parametrize(
    "renames", [[("a", "b"), ("c", "d")], {"a": "b", "c": "d"}, (("a", "b"), ("c", "d"))]
)
def test_renames_are_pairs_in_order(renames: Any) -> None:
    """Pairs and mappings are taken."""
    assert selection_from({"rename": renames}).rename == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize(
    "renames", ["ab", ["ab"], [("a",)], [("a", "b", "c")], [("a", 1)], [7], {"a": None}]
)
def test_what_is_not_a_pair_is_refused(renames: Any) -> None:
    """A text of two letters is not a pair either; the value is shown, safe to print."""
    with pytest.raises(UsageError, match="`rename` cannot be") as caught:
        selection_from({"rename": renames})
    assert '("old", "new")' in caught.value.hint


@pytest.mark.parametrize("setting", ["order", "tied", "layout", "replace", "companions", "experts"])
@pytest.mark.parametrize("value", ["nonsense\x1b", "", 1])
def test_settings_of_a_few_values(setting: str, value: object) -> None:
    """Any other value is refused, and the right ones are listed."""
    keywords: Any = {setting: value}
    with pytest.raises(UsageError, match=f"`{setting}` cannot be") as caught:
        options_from(keywords)
    assert caught.value.hint.startswith("choose one of: ")
    assert "\x1b" not in caught.value.message


def test_an_argument_that_does_not_exist() -> None:
    """It is refused as Python refuses it."""
    unknown: Any = {"max_shardsize": "1GB"}
    with pytest.raises(TypeError, match="max_shardsize"):
        options_from(unknown)


def test_experts_and_types() -> None:
    """Own rules for experts are kept, and a type is a conversion; types to keep need one."""
    own = Experts("split")
    assert transform_from({"experts": own}).experts is own
    conversion = transform_from({"dtype": "bf16", "keep_dtype": "*.bias"}).conversion
    assert conversion is not None
    assert conversion.dtype == "BF16"
    with pytest.raises(UsageError):
        transform_from({"keep_dtype": "*.bias"})
    with pytest.raises(UsageError):
        transform_from({"dtype": "nonsense"})
