"""A tensor lies within its storage, or is reported and left out."""

from __future__ import annotations

import pytest

from shardctl.findings import Finding
from shardctl.formats.pickle.values import StorageRef, ViewRef
from shardctl.formats.torch.calls.within import tensor_within
from shardctl.model import DTYPES, Extent, Storage, Tensor

F32 = DTYPES["F32"]
#: Twelve floats at byte 100 of the file.
STORAGE = Storage(Extent("m.bin", 100, 48), "0")


def placed(
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    *,
    begin: int = 0,
    nbytes: int = 48,
    dtype: str = "F32",
) -> tuple[Tensor | None, list[Finding]]:
    """A view, of a part of the storage that begins at some byte; and what is wrong with it."""
    findings: list[Finding] = []
    ref = StorageRef("0", None, nbytes, "FloatStorage", begin)
    view = ViewRef(ref, DTYPES[dtype], offset, shape, strides)
    return tensor_within(STORAGE, view, "w", "a.w", "m.bin", findings.append), findings


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (12,), None), (12, (0,), None), (11, (), None), (0, (2, 2), (11, 0)), (5, (2,), (6,))],
)
def test_a_tensor_may_end_with_its_storage(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...] | None
) -> None:
    """The last byte can be used; offset, shape and strides are kept."""
    tensor, findings = placed(offset, shape, strides)
    assert findings == []
    assert tensor is not None
    assert (tensor.name, tensor.dtype, tensor.storage) == ("w", F32, STORAGE)
    assert (tensor.offset, tensor.shape, tensor.strides) == (offset, shape, strides)


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "nbytes", "end"),
    [
        (0, (13,), None, 48, 52),
        (1, (12,), None, 48, 52),
        (0, (2,), (12,), 48, 52),
        (13, (0,), None, 48, 52),
        (0, (11,), None, 40, 44),
        (0, (13,), None, 96, 52),
    ],
)
def test_one_element_past_the_storage_is_refused(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, nbytes: int, end: int
) -> None:
    """The bytes that are there, and those that the pickle says are there, both count."""
    tensor, (finding,) = placed(offset, shape, strides, nbytes=nbytes)
    assert tensor is None
    assert (finding.code, finding.severity) == ("tensor-out-of-bounds", "error")
    assert (finding.file, finding.tensor, finding.offset) == ("m.bin", "a.w", 100)
    assert finding.message == f"the tensor reaches to byte {end} of a storage of {nbytes} bytes"


def test_a_legacy_view_begins_inside_its_storage() -> None:
    """The tensor is one of the whole storage then; it may end with it, and not past it."""
    tensor, findings = placed(1, (3,), begin=32, nbytes=16)
    assert findings == []
    assert tensor is not None
    assert tensor.offset == 9
    tensor, (finding,) = placed(1, (4,), begin=32, nbytes=16)
    assert (tensor, finding.code) == (None, "tensor-out-of-bounds")
    tensor, (finding,) = placed(0, (4,), begin=36, nbytes=16)
    assert (tensor, finding.code) == (None, "tensor-out-of-bounds")


def test_a_view_that_begins_within_an_element_is_refused() -> None:
    """Its elements would lie across those of the storage; of bytes any place is an element's."""
    tensor, (finding,) = placed(0, (1,), begin=6, nbytes=8)
    assert tensor is None
    assert "begins within an element: at byte 6" in finding.message
    tensor, findings = placed(0, (1,), begin=6, nbytes=8, dtype="F16")
    assert findings == []
    assert tensor is not None
    assert tensor.offset == 3
