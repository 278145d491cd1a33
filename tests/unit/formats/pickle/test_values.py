"""The inert values of a pickle are equal to themselves only, and small."""

from __future__ import annotations

import pytest

from shardctl.formats.pickle.values import (
    TENSORS,
    EmptyTensor,
    Global,
    Mapping,
    Opaque,
    PickleCutShortError,
    PickleFaultError,
    Sequence,
    StorageRef,
    UnknownTensor,
    ViewRef,
)
from shardctl.model import DTYPES

F32 = DTYPES["F32"]


def _storage() -> StorageRef:
    return StorageRef("0", F32, 4, "FloatStorage")


MAKERS = (
    lambda: Global("m.f"),
    lambda: Opaque("m.C"),
    _storage,
    lambda: ViewRef(_storage(), F32, 0, (), None),
    lambda: UnknownTensor("x"),
    lambda: EmptyTensor("torch.Tensor", F32),
    Mapping,
    lambda: Sequence("list"),
)


@pytest.mark.parametrize("make", MAKERS)
def test_values_are_compared_by_identity(make: type) -> None:
    """Two objects of equal contents are two, so that comparing never walks a crafted structure."""
    one, other = make(), make()
    assert one != other
    assert len({one, other}) == 2
    assert not hasattr(one, "__dict__")


def test_contents_are_not_shared_between_values() -> None:
    """Each container has separate contents."""
    assert Mapping().items is not Mapping().items
    assert Sequence("list").items is not Sequence("list").items
    assert Opaque("m.C").parts is not Opaque("m.C").parts


def test_faults_say_where_and_what_to_do() -> None:
    """A fault, also one of a pickle cut short, has its offset and a hint that loads nothing."""
    fault = PickleCutShortError("cut", 7)
    assert isinstance(fault, PickleFaultError)
    assert (fault.message, fault.offset, str(fault)) == ("cut", 7, "cut")
    assert "torch.load" not in fault.hint
    assert "fetch the file again" in fault.hint
    assert PickleFaultError("x", 0, "other").hint == "other"


def test_what_counts_as_a_tensor() -> None:
    """Tensors that are read, of unknown type, and not filled yet are tensors; storages are not."""
    assert set(TENSORS) == {ViewRef, UnknownTensor, EmptyTensor}
    assert str(Global("os.system")) == "os.system"
