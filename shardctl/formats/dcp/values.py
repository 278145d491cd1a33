"""A value that is not a tensor in a data file of a distributed checkpoint: a file of torch.save.

Source: `DefaultLoadPlanner.load_bytes` of torch 2.13, which loads it with `weights_only=False`.
"""

from __future__ import annotations

from shardctl.findings import Report
from shardctl.formats.torch.zip.reader import TorchZipReader
from shardctl.model import File
from shardctl.stores.base import Reader


def read_value(reader: Reader, report: Report, name: str) -> File | None:
    """Read what was saved as one entry of this name, which says whether it holds tensors.

    Everything wrong goes to `report`; None where it cannot be made out what it holds.
    """
    return TorchZipReader().read_object(reader, report, name)
