"""A value that is not a tensor in a data file of a distributed checkpoint: a file of torch.save.

Source: `DefaultLoadPlanner.load_bytes` of torch 2.13, which loads it with `weights_only=False`.
"""

from __future__ import annotations

from collections.abc import Mapping

from shardctl.findings import Finding, Report, report_all
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.torch.tree.tree import object_of
from shardctl.formats.torch.zip.reader import TorchZipReader
from shardctl.model import File, Tree
from shardctl.stores.base import Reader


def read_value(reader: Reader, report: Report, name: str) -> File | None:
    """Read what was saved as one entry of this name, which says whether it holds tensors.

    Everything wrong goes to `report`; None where it cannot be made out what it holds.
    """

    def one_entry(
        pickled: Unpickled,
        _: object,
        __: str,
        report: Report,
        nbytes: int,
        lost: Mapping[str, Finding],
    ) -> Tree:
        report_all(lost.values(), report)
        return {name: object_of(pickled, name, nbytes)}

    return TorchZipReader().read_as(reader, report, one_entry)
