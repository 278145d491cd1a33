"""Layers as areas: in natural order, and in proportion to their bytes."""

from __future__ import annotations

import math

from shardctl.report.treemap import Box, cells
from shardctl.view.tensors import TensorRow
from shardctl.view.tree import chain, tree


def test_layers_are_in_natural_order() -> None:
    """Layer 2 comes before layer 10, whatever their sizes, and areas are as the bytes."""
    sizes = {f"layers.{number}.w": 4000 + 400 * (number % 3) for number in range(12)}
    rows = [TensorRow(name, "F32", (size // 4,), size) for name, size in sizes.items()]
    drawn = list(cells(chain(tree(rows))[1], Box(0, 0, 900, 400), 1))
    assert [cell.label for cell in drawn] == [f"{number}.w" for number in range(12)]
    total = sum(sizes.values())
    for cell, nbytes in zip(drawn, sizes.values(), strict=True):
        wanted = 900 * 400 * nbytes / total
        assert math.isclose(cell.box.width * cell.box.height, wanted, rel_tol=0.1)
