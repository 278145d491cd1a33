"""The limits are above what real files have, and in proportion to a pickle's bytes."""

from __future__ import annotations

import pytest

from shardctl.formats import limits
from shardctl.formats.limits import weight_limit


@pytest.mark.parametrize(
    ("nbytes", "bytes_per_weight", "weight"),
    [
        (0, 4, limits.MIN_WEIGHT),
        (4 * limits.MIN_WEIGHT, 4, limits.MIN_WEIGHT),
        (4 * limits.MIN_WEIGHT + 4, 4, limits.MIN_WEIGHT + 1),
        (150_000_000, 4, 37_500_000),
        (150_000_000, 2, 75_000_000),
    ],
)
def test_the_weight_grows_with_the_bytes(nbytes: int, bytes_per_weight: int, weight: int) -> None:
    """A small pickle has a least weight, and a large one a part of its bytes."""
    assert weight_limit(nbytes, bytes_per_weight) == weight
    assert weight_limit(nbytes) == weight_limit(nbytes, limits.BYTES_PER_WEIGHT)


def test_a_million_tensors_are_within_every_limit() -> None:
    """What torch and safetensors write for a million tensors is read."""
    tensors = 1_000_000
    assert 10 * tensors <= weight_limit(40 * tensors)
    assert 40 * tensors <= limits.MAX_OPCODES
    assert 9 * tensors <= limits.MAX_MEMO
    assert 150 * tensors <= limits.MAX_PICKLE_BYTES
    assert 130 * tensors <= limits.MAX_READ_HEADER_BYTES
    assert 100 * tensors <= limits.MAX_DIRECTORY_BYTES
    assert 80 * tensors <= limits.MAX_PLAN_BYTES


def test_the_header_limit_is_that_of_upstream() -> None:
    """A header of exactly 100 MB is what upstream reads at most."""
    assert limits.MAX_HEADER_BYTES == 100_000_000
    assert limits.MAX_HEADER_BYTES < limits.MAX_READ_HEADER_BYTES
