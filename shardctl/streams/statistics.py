"""What the numbers of tensors are: least, largest and mean, and how two tensors differ.

numpy computes; it is imported when something is summed up. Every floating-point number is taken as
F32, an F64 as it is; sums are F64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shardctl.errors import UsageError
from shardctl.streams.convert import CONVERTIBLE, converter
from shardctl.streams.elements import Chunk, in_step


@dataclass(frozen=True, slots=True)
class Statistics:
    """The numbers of one tensor: how many are NaN, infinite or zero; the rest is of finite ones.

    `least`, `largest` and `mean` are None where no number is finite, and `mean` where the sum of
    F64 numbers is too large for one.
    """

    least: float | None
    largest: float | None
    mean: float | None
    nan: int
    infinite: int
    zeros: int


@dataclass(frozen=True, slots=True)
class Distance:
    """How two tensors of one shape differ.

    `changed` elements are not equal (NaN equals NaN); `largest` and `mean` are of the absolute
    differences of all elements that are finite in both, None where there are none, or where they
    are too large for F64.
    """

    changed: int
    largest: float | None
    mean: float | None


def has_statistics(dtype: str) -> bool:
    """Whether tensors of a type, by its name in `model.DTYPES`, are numbers that are summed up."""
    return dtype in CONVERTIBLE


def statistics(chunks: Iterable[Chunk], dtype: str) -> Statistics:
    """Return what the elements in some chunks of bytes are; each chunk has whole elements.

    Raises UsageError where numpy is not installed.
    """
    np = _numpy()
    least, largest, total, finite = math.inf, -math.inf, 0.0, 0
    nan = infinite = zeros = 0
    for numbers in _numbers(chunks, dtype):
        good = numbers[np.isfinite(numbers)]
        nan += int(np.isnan(numbers).sum())
        infinite += int(np.isinf(numbers).sum())
        zeros += int((numbers == 0).sum())
        if len(good):
            least, largest = min(least, float(good.min())), max(largest, float(good.max()))
            # A sum that is too large is infinite from then on: `_finite` makes it None.
            with np.errstate(over="ignore", invalid="ignore"):
                total += float(good.sum(dtype=np.float64))
            finite += len(good)
    if not finite:
        return Statistics(None, None, None, nan, infinite, zeros)
    return Statistics(least, largest, _finite(total / finite), nan, infinite, zeros)


def distance(one: Iterator[Chunk], dtype: str, other: Iterator[Chunk], its: str) -> Distance:
    """Return how the elements of two tensors of one shape differ; their types may differ as well.

    Chunks have whole elements. Raises UsageError where numpy is not installed.
    """
    np = _numpy()
    changed = compared = 0
    largest, total = 0.0, 0.0
    for mine, theirs in in_step(_doubles(one, dtype), _doubles(other, its)):
        ours, others = np.frombuffer(mine, "<f8"), np.frombuffer(theirs, "<f8")
        same = (ours == others) | (np.isnan(ours) & np.isnan(others))
        changed += int((~same).sum())
        both = np.isfinite(ours) & np.isfinite(others)
        with np.errstate(over="ignore"):
            apart = np.abs(ours[both] - others[both])
            if len(apart):
                largest = max(largest, float(apart.max()))
                total += float(apart.sum())
                compared += len(apart)
    if not compared:
        return Distance(changed, None, None)
    return Distance(changed, _finite(largest), _finite(total / compared))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _doubles(chunks: Iterator[Chunk], dtype: str) -> Iterator[Chunk]:
    return chunks if dtype == "F64" else map(converter(dtype, "F64"), chunks)


def _numbers(chunks: Iterable[Chunk], dtype: str) -> Iterator[Any]:
    np = _numpy()
    if dtype in ("F32", "F64"):
        kind = "<f4" if dtype == "F32" else "<f8"
        for chunk in chunks:
            yield np.frombuffer(chunk, kind)
        return
    convert = converter(dtype, "F32")
    for chunk in chunks:
        yield np.frombuffer(convert(chunk), "<f4")


def _numpy() -> Any:
    try:
        import numpy as np  # noqa: PLC0415, TID251 - an extra; the core works without it
    except ImportError as error:
        raise UsageError(
            f"statistics need numpy and ml_dtypes ({error})",
            hint="install them: pip install 'shardctl[numbers]'",
        ) from error
    return np
