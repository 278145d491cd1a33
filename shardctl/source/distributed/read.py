"""Read a checkpoint that several processes saved, in whichever way they did."""

from __future__ import annotations

from shardctl.findings import Report
from shardctl.model import File
from shardctl.source.distributed.dcp import read_dcp
from shardctl.source.distributed.ranks import read_ranks
from shardctl.source.distributed.slices import read_slices
from shardctl.source.distributed.zero import read_zero
from shardctl.source.locate import Located
from shardctl.source.opened import Opened
from shardctl.stores.base import Store


def read_divided(store: Store, located: Located, report: Report, opened: Opened) -> list[File]:
    """Return the files of a distributed checkpoint; the first holds all the tensors, others none.

    Everything wrong goes to `report`; tensors that cannot be put together are left out. Without
    any usable file there are none.
    """
    if located.distributed == "metadata":
        return read_dcp(store, located.directory, report, opened)
    if located.distributed == "ranks":
        return read_ranks(store, located.files, report, opened)
    if located.distributed == "vectors":
        return read_zero(store, located.files, report, opened)
    return read_slices(store, located.files, report, opened)
