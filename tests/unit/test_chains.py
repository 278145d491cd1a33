"""Numbers in dotted names."""

from __future__ import annotations

import pytest

from shardctl.chains import is_number, numbers


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("model.layers.10.mlp.experts.3.w1.weight", ["10", "3"]),
        ("0.weight", ["0"]),
        ("a.7", ["7"]),
        ("12", ["12"]),
        ("layer1.0.conv2.weight", ["0"]),
        ("a.1234567890.b", []),
        ("a.-1.b.1a.c", []),
        ("a.7\n", []),
        ("", []),
    ],
)
def test_numbers_are_whole_parts(name: str, found: list[str]) -> None:
    """A number is a part of digits alone, and not too long; `is_number` says the same of a part."""
    assert [name[begin:end] for begin, end in numbers(name)] == found
    assert [part for part in name.split(".") if is_number(part)] == found


def test_a_name_of_many_numbers_is_cut_short() -> None:
    """Of a name with many numbers only the first few are looked at."""
    assert [end for _, end in numbers("0." * 100_000)] == [1, 3, 5, 7, 9, 11, 13, 15]
