"""Slices are put together where they cover a tensor exactly once."""

from __future__ import annotations

import time

from shardctl.findings import Finding, strict
from shardctl.model import DTYPES, Box, Extent, Storage, Tensor
from shardctl.source.distributed.assemble import assemble, slices_of

F32, F4 = DTYPES["F32"], DTYPES["F4"]


def box(start: tuple[int, ...], shape: tuple[int, ...], path: str = "f", dtype: str = "F32") -> Box:
    """A box with a storage that no other box has."""
    extent = Extent(path, 0, 1 << 40)
    return Box(start, Tensor("", DTYPES[dtype], shape, Storage(extent, f"{start}")))


def test_one_slice_that_covers_all_is_the_tensor() -> None:
    """No grid is made for a tensor that one file holds whole; slices of nothing are left out."""
    findings: list[Finding] = []
    parts = (box((0, 0), (2, 3)), box((2, 0), (0, 3)))
    tensor = assemble("a", F32, (2, 3), parts, "m", findings.append)
    assert tensor is not None
    assert tensor.storage.made is None
    assert (tensor.name, slices_of([tensor])) == ("a", (1, 1, 1))
    empty = assemble("e", F32, (0, 3), (), "m", findings.append)
    assert empty is not None
    assert slices_of([empty]) == (0, 0, 0)
    assert not findings


def test_slices_in_several_files_are_counted() -> None:
    """A tensor of two slices in two files is one tensor, two slices, two files."""
    parts = (box((0, 0), (2, 3)), box((2, 0), (2, 3), "g"))
    tensor = assemble("a", F32, (4, 3), parts, "m", strict)
    assert tensor is not None
    assert slices_of([tensor]) == (1, 2, 2)


def test_elements_of_less_than_a_byte_are_not_cut() -> None:
    """A slice of such a type may begin within a byte, so several are refused."""
    findings: list[Finding] = []
    parts = (box((0,), (2,), dtype="F4"), box((2,), (2,), dtype="F4"))
    assert assemble("a", F4, (4,), parts, "m", findings.append) is None
    assert "are not whole bytes" in findings[0].message
    assert assemble("a", F4, (2,), parts[:1], "m", strict) is not None


def test_many_slices_out_of_line_end_soon() -> None:
    """Thousands of slices that no training makes are refused in a time that grows with them."""
    count = 20_000
    upper = [box((0, column), (column + 1, 1)) for column in range(count)]
    lower = [box((column + 1, column), (count - column, 1)) for column in range(count)]
    findings: list[Finding] = []
    begin = time.process_time()
    assert assemble("a", F32, (count + 1, count), upper + lower, "m", findings.append) is None
    assert time.process_time() - begin < 20
    assert "do not lie side by side" in findings[0].message
    rows = [box((row, 0), (1, 3)) for row in range(count)]
    assert assemble("a", F32, (count, 3), rows, "m", findings.append) is not None
