"""The units of packing, and the tensors that shards hold of them."""

from __future__ import annotations

import pytest

from shardctl.columns import Columns, Form, Tensors
from shardctl.model import DTYPES
from shardctl.planning.grouping.units import Units
from shardctl.storages import Unit
from tests.support.tensors import floats

A, B, C, D = floats("a", 1), floats("b", 2), floats("c", 3), floats("d", 4)


@pytest.fixture
def plain() -> Units:
    """Four tensors, each a unit."""
    return Units([A, B, C, D])


@pytest.fixture
def together() -> Units:
    """Two units of the same tensors, the first of which has the first and the last."""
    return Units([A, B, C, D], [Unit((A, D), 20), Unit((B, C), 20, "g")])


def test_each_tensor_is_a_unit(plain: Units) -> None:
    """A unit has the bytes of its tensor."""
    assert plain.sizes == [4, 8, 12, 16]
    assert len(plain) == 4
    assert list(plain) == [Unit((A,), 4), Unit((B,), 8), Unit((C,), 12), Unit((D,), 16)]
    assert plain[-1] == Unit((D,), 16)
    assert plain[1:3] == [Unit((B,), 8), Unit((C,), 12)]


def test_units_of_several_tensors(together: Units) -> None:
    """They are given as they are."""
    assert together.sizes == [20, 20]
    assert list(together) == [Unit((A, D), 20), Unit((B, C), 20, "g")]
    assert together[1].group == "g"
    assert together[:1] == [Unit((A, D), 20)]


def test_the_tensors_of_a_shard_are_in_the_order_of_all(plain: Units, together: Units) -> None:
    """Those of one unit need not be neighbours, and a shard may pass over units."""
    assert list(plain.held([range(1), range(2, 4)])) == [A, C, D]
    assert list(together.held([range(2)])) == [A, B, C, D]
    assert list(together.held([range(1, 2)])) == [B, C]
    assert list(together.held([])) == []


def test_the_bytes_of_a_shard(plain: Units, together: Units) -> None:
    """They are those of its units."""
    assert plain.nbytes([range(1), range(2, 4)]) == 32
    assert together.nbytes([range(2)]) == 40
    assert together.nbytes([]) == 0


def test_columns_stay_columns() -> None:
    """No object is made of tensors that are packed."""
    form = Form(DTYPES["U8"], (5,), 5)
    tensors = Tensors([Columns("f", ["x", "y", "z"], [form] * 3, [0, 5, 10])])
    units = Units(tensors)
    held = units.held([range(1), range(2, 3)])
    assert units.sizes == [5, 5, 5]
    assert isinstance(held, Tensors)
    assert held == (tensors[0], tensors[2])
