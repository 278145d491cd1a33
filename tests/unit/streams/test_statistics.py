"""The numbers of tensors, summed up."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from shardctl.streams.statistics import Distance, Statistics, distance, has_statistics, statistics


def raw(values: torch.Tensor) -> Iterator[bytes]:
    """The bytes of a tensor, in two chunks."""
    data = bytes(values.view(torch.uint8).tolist())
    middle = len(data) // 2 // values.itemsize * values.itemsize
    yield from (data[:middle], data[middle:])


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("F32", torch.float32), ("F64", torch.float64), ("BF16", torch.bfloat16), ("F16", torch.half)],
)
def test_finite_numbers_are_summed_up(name: str, dtype: torch.dtype) -> None:
    """Least, largest and mean are of the finite numbers; the others are counted."""
    values = torch.tensor([0.0, -2.0, 4.0, math.nan, math.inf, -math.inf, -0.0], dtype=dtype)
    assert statistics(raw(values), name) == Statistics(-2.0, 4.0, 0.5, 1, 2, 2)


def test_nothing_finite() -> None:
    """Of no numbers, or only of NaN, there is no least one."""
    assert statistics([], "F32") == Statistics(None, None, None, 0, 0, 0)
    nan = torch.full((3,), math.nan)
    assert statistics(raw(nan), "F32") == Statistics(None, None, None, 3, 0, 0)


def test_the_mean_of_many_small_numbers() -> None:
    """Sums do not lose the small numbers: a million of 16 bits have their mean."""
    values = torch.full((1_000_000,), 1 / 1024, dtype=torch.bfloat16)
    assert statistics(raw(values), "BF16").mean == 1 / 1024


def test_distances() -> None:
    """Elements that are not finite in both count as changed unless they are equal, and no more."""
    one = torch.tensor([1.0, math.nan, math.inf, math.inf, 5.0])
    other = torch.tensor([1.5, math.nan, math.inf, 1.0, 5.0], dtype=torch.float64)
    assert distance(raw(one), "F32", raw(other), "F64") == Distance(2, 0.5, 0.25)
    assert distance(iter([]), "F32", iter([]), "F32") == Distance(0, None, None)


def test_which_types_are_numbers() -> None:
    """Floating-point types are; integers, packed and complex ones are not summed up."""
    assert has_statistics("F8_E4M3")
    assert not any(map(has_statistics, ("I8", "F4", "C64", "BOOL")))


def test_sums_that_are_too_large() -> None:
    """Where a sum or a difference is too large for F64, there is none; least and largest stay."""
    values = torch.tensor([1.5e308, 1.5e308, -1.5e308], dtype=torch.float64)
    assert statistics(raw(values[:2]), "F64") == Statistics(1.5e308, 1.5e308, None, 0, 0, 0)
    assert distance(raw(values[1:]), "F64", raw(-values[1:]), "F64") == Distance(2, None, None)
