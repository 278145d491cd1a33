"""Read toy files."""

from __future__ import annotations

import hashlib
import json
import math

from shardctl.findings import Finding, Report
from shardctl.model import DTYPES, Extent, File, Storage, Tensor, Tree
from shardctl.stores.base import Reader

MAGIC = b"TOY1 "
#: Bytes of the first line: the magic, the table's length in digits, and the line's end.
PREFIX_BYTES = len(MAGIC) + 12 + 1


class ToyReader:
    """Reads toy files."""

    def recognise(self, head: bytes, tail: bytes) -> bool:  # noqa: ARG002 - the beginning is enough
        """Whether a file begins with the magic."""
        return head.startswith(MAGIC)

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read the table; None where it is damaged."""
        try:
            return _read(reader)
        except (ValueError, TypeError) as error:
            hint = "save the file again"
            report(Finding("header-invalid", "error", str(error), hint, reader.path, offset=0))
        return None


def _read(reader: Reader) -> File:
    size = reader.version.size
    if size < PREFIX_BYTES:
        raise ValueError("the file ends within its first line")
    prefix = reader.read(0, PREFIX_BYTES)
    length = int(prefix[len(MAGIC) :])
    if prefix[-1:] != b"\n" or not 0 <= length <= size - PREFIX_BYTES:
        raise ValueError("the first line is not that of a toy file")
    table = reader.read(PREFIX_BYTES, length)
    tree: Tree = {}
    at = PREFIX_BYTES + length
    for line in table.decode().split("\n")[:-1]:
        tensor = _tensor(line, reader.path, at)
        if tree.setdefault(tensor.name, tensor) is not tensor:
            raise ValueError("two tensors have one name")
        at += tensor.nbytes
    if at != size:
        raise ValueError(f"the file should end at byte {at:,}, and has {size:,} bytes")
    return File(
        path=reader.path,
        format="toy",
        version=reader.version,
        tree=tree,
        header_sha256=hashlib.sha256(prefix + table).hexdigest(),
    )


def _tensor(line: str, path: str, at: int) -> Tensor:
    fields = line.split(" ", 3)
    if len(fields) != 4 or fields[0] not in DTYPES:
        raise ValueError("a line of the table is damaged")
    shape = tuple(map(int, json.loads(fields[2])))
    dtype, nbytes, name = DTYPES[fields[0]], int(fields[1]), json.loads(fields[3])
    if min(shape, default=0) < 0 or dtype.nbytes(math.prod(shape)) != nbytes:
        raise ValueError("a tensor's shape does not match its bytes")
    return Tensor(str(name), dtype, shape, Storage(Extent(path, at, nbytes), str(name)))
