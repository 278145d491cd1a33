"""Lay out toy files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from shardctl.layout import Copy, Layout, LayoutBuilder, view_of
from shardctl.model import Tensor
from tests.toy.reader import MAGIC


class ToyWriter:
    """Lays out toy files."""

    def measure(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - the format has none
        block: int | None = None,  # noqa: ARG002 - the format has no room to pad
    ) -> int:
        """Exact bytes of the file that `lay_out` gives."""
        return len(_header(tensors)) + sum(tensor.nbytes for tensor in tensors)

    def lay_out(
        self,
        tensors: Sequence[Tensor],
        metadata: Mapping[str, str],  # noqa: ARG002 - the format has none
        block: int | None = None,  # noqa: ARG002 - the format has no room to pad
    ) -> Layout:
        """The table, then the tensors in their order."""
        builder = LayoutBuilder()
        builder.literal(_header(tensors))
        for tensor in tensors:
            piece = view_of(tensor)
            if isinstance(piece, Copy):
                builder.copy(piece.extent)
            elif piece.nbytes:
                builder.record(piece)
            builder.check(tensor)
        return builder.build()


def _header(tensors: Sequence[Tensor]) -> bytes:
    lines = (
        f"{tensor.dtype.name} {tensor.nbytes} "
        f"{json.dumps(tensor.shape, separators=(',', ':'))} {json.dumps(tensor.name)}\n"
        for tensor in tensors
    )
    table = "".join(lines).encode()
    return MAGIC + b"%012d\n" % len(table) + table
