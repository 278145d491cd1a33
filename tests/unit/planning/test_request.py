"""What a writing command was asked for: limits, and options as they are recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardctl.errors import UsageError
from shardctl.planning.request import (
    Limits,
    Request,
    Selection,
    option_differences,
    options_of,
    parse_limits,
)


def limits(
    size: str | None = None,
    number: int | None = None,
    *,
    single: bool = False,
    strict: bool = False,
) -> Limits | None:
    """The limits that these settings ask for."""
    return parse_limits(max_shard_size=size, num_shards=number, single=single, strict_size=strict)


def test_limits() -> None:
    """A size is parsed, a number is taken, and without either the source's number is kept."""
    assert limits("1KB") == Limits(max_shard_bytes=1000)
    assert limits("1KB", strict=True) == Limits(max_shard_bytes=1000, strict=True)
    assert limits(number=3) == Limits(num_shards=3)
    assert limits(single=True) == Limits()
    assert limits() is None


def test_only_one_limit() -> None:
    """Two limits are a usage error that names both."""
    with pytest.raises(UsageError, match="`num_shards` and `single` cannot be used together"):
        limits(number=2, single=True)


@pytest.mark.parametrize(("number", "single"), [(None, False), (2, False), (None, True)])
def test_a_strict_size_needs_a_size(number: int | None, *, single: bool) -> None:
    """`strict_size` without a size is a usage error."""
    with pytest.raises(UsageError, match="`strict_size` needs a size"):
        limits(number=number, single=single, strict=True)


def test_an_unreadable_size_is_refused() -> None:
    """What is not a size is a usage error."""
    with pytest.raises(UsageError, match="not a size"):
        limits("large")


@pytest.mark.parametrize(
    ("limits", "one_file"),
    [
        (Limits(), True),
        (Limits(num_shards=1), False),
        (Limits(max_shard_bytes=1), False),
    ],
)
def test_one_file(limits: Limits, *, one_file: bool) -> None:
    """Only without any limit is the result a single file, whatever the source holds."""
    assert limits.one_file is one_file


def test_the_reflink_layout_is_recorded_under_its_first_name() -> None:
    """Plan files and journals say "shareable", so that plan ids stay; messages say reflink."""
    compact = options_of(Request(Limits(), "bin", ".bin", "model"))
    reflink = options_of(Request(Limits(), "bin", ".bin", "model", block=4096))
    assert (compact["layout"], reflink["layout"]) == ("compact", "shareable")
    assert option_differences(compact, reflink) == ["`layout` was compact, is reflink"]


def test_equal_options_do_not_differ() -> None:
    """There is nothing to say about options that are the same."""
    options = options_of(Request(Limits(num_shards=2), "bin", ".bin", "model"))
    assert option_differences(options, dict(options)) == []


def test_a_selection_is_recorded_where_it_was_given() -> None:
    """A plan without one has the options that it always had; another selection is said in words."""
    plain = Request(Limits(num_shards=2), "bin", ".bin", "model")
    assert "include" not in options_of(plain)
    chosen = replace(plain, selection=Selection(include=("a", "b\n"), rename=(("^h", "x"),)))
    assert options_of(chosen)["rename"] == [["^h", "x"]]
    assert option_differences(options_of(plain), options_of(chosen)) == [
        "`include` was not set, is a, b\\n",
        "`rename` was not set, is ^h=x",
    ]


def test_differences_are_in_words() -> None:
    """A switch is on or off, a missing value is not set, and names from elsewhere are escaped."""
    before = {"strict_size": False, "num_shards": None, "name": "a\n"}
    assert option_differences(before, {"strict_size": True, "num_shards": 3, "name": "b"}) == [
        "`name` was a\\n, is b",
        "`num_shards` was not set, is 3",
        "`strict_size` was off, is on",
    ]
