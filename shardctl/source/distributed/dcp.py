"""A distributed checkpoint of torch (DCP) as one file of whole tensors, by its `.metadata`.

Source: `torch/distributed/checkpoint/filesystem.py` of torch 2.13. Each slice is a file of
torch.save within a data file, or, in the safetensors form, a tensor of a safetensors file, found by
its name.
"""

from __future__ import annotations

import hashlib

from shardctl.findings import Report
from shardctl.formats.dcp.format import DCP, METADATA
from shardctl.formats.dcp.metadata import (
    DcpFaultError,
    Saved,
    SavedTensor,
    SavedValue,
    read_metadata,
    unexpected,
)
from shardctl.formats.hazards import DO_NOT_LOAD, unsafe_finding
from shardctl.formats.limits import MAX_PICKLE_BYTES
from shardctl.formats.pickle.scan import imported_names
from shardctl.formats.pickle.values import PickleFaultError
from shardctl.model import Box, File, NonTensor, Tensor, Tree
from shardctl.source.directory.absent import absent
from shardctl.source.distributed.assemble import NO_PLACE, SAVE_AGAIN, assemble, put
from shardctl.source.distributed.data_files import DataFiles, fault
from shardctl.source.opened import Opened
from shardctl.stores.base import Reader, Store


def read_dcp(store: Store, directory: str, report: Report, opened: Opened) -> list[File]:
    """Return the files of a distributed checkpoint; the first holds all its tensors.

    The others are the data files, in which no tensors are listed. Everything wrong goes to
    `report`; tensors that are not covered by slices that can be read are left out. Without usable
    metadata there are no files.
    """
    path = store.join(directory, METADATA)
    missing = absent(store, path)
    if missing is not None:
        report(missing)
        return []
    with store.open(path) as reader:
        opened(path, reader.version.size, 1, 1)
        saved = _metadata(reader, report)
        if saved is None:
            return []
        digest = hashlib.sha256(reader.read(0, reader.version.size)).hexdigest()
        version = reader.version
    files = DataFiles(store, directory, report, opened)
    files.read(saved)
    tree: Tree = {}
    for entry in saved.entries:
        value = _value(entry, files, path, report)
        if value is not None and not put(tree, entry.path, entry.name, value):
            report(fault("metadata-invalid", NO_PLACE, SAVE_AGAIN, path, entry.name))
    whole = File(
        path,
        DCP.name,
        version,
        tree,
        header_sha256=digest,
        unsafe_globals=saved.unsafe_globals,
        allocations=saved.allocations,
    )
    return [whole, *files.files]


def _metadata(reader: Reader, report: Report) -> Saved | None:
    size = reader.version.size
    if size > MAX_PICKLE_BYTES:
        message = f"it has {size:,} bytes, more than any checkpoint needs"
        report(fault("metadata-invalid", message, SAVE_AGAIN, reader.path, None))
        return None
    data = reader.read(0, size)
    try:
        return read_metadata(data)
    except (PickleFaultError, DcpFaultError) as error:
        unsafe = unexpected(imported_names(data))
        if unsafe:
            report(unsafe_finding(unsafe, reader.path, readable=False))
        hint = DO_NOT_LOAD if unsafe else SAVE_AGAIN
        if isinstance(error, DcpFaultError):
            report(fault("metadata-invalid", error.message, hint, reader.path, error.tensor))
        else:
            report(fault("pickle-invalid", error.message, hint, reader.path, None))
    return None


def _value(
    entry: SavedTensor | SavedValue, files: DataFiles, path: str, report: Report
) -> Tensor | NonTensor | None:
    """Return an entry of the tree; None for a tensor that cannot be put together."""
    if isinstance(entry, SavedValue):
        return files.value(entry)
    boxes = _boxes(entry, files)
    if boxes is None:
        return None  # which has been reported with the file that a slice should be in
    return assemble(entry.name, entry.dtype, entry.shape, boxes, path, report)


def _boxes(entry: SavedTensor, files: DataFiles) -> tuple[Box, ...] | None:
    """Return the slices that have elements; None where one could not be read."""
    boxes = []
    for chunk in entry.chunks:
        # A slice without a place was not saved by any process: that is a gap.
        if chunk.place is not None and 0 not in chunk.shape:
            view = files.view(entry, chunk)
            if view is None:
                return None
            boxes.append(Box(chunk.start, view))
    return tuple(boxes)
