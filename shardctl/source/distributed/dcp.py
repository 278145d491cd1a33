"""A distributed checkpoint of torch (DCP) as one file of whole tensors, by its `.metadata`.

Source: `torch/distributed/checkpoint/filesystem.py` of torch 2.13. Each slice is a file of
torch.save within a data file, or, in the safetensors form, a tensor of a safetensors file, found by
its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from shardctl.boxes import fault as grid_fault
from shardctl.findings import Finding, Report
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
from shardctl.model import (
    Assembled,
    Box,
    Extent,
    File,
    NonTensor,
    Storage,
    Tensor,
    Tree,
    made_tensor,
)
from shardctl.source.distributed.slices import SAVE_AGAIN, Files, fault
from shardctl.source.opened import Opened
from shardctl.stores.base import Reader, Store
from shardctl.text import escape


def read_dcp(store: Store, directory: str, report: Report, opened: Opened) -> list[File]:
    """Return the files of a distributed checkpoint; the first holds all its tensors.

    The others are the data files, in which no tensors are listed. Everything wrong goes to
    `report`; tensors that are not covered by slices that can be read are left out. Without usable
    metadata there are no files.
    """
    path = store.join(directory, METADATA)
    with store.open(path) as reader:
        opened(path, reader.version.size, 1, 1)
        saved = _metadata(reader, report)
        if saved is None:
            return []
        digest = hashlib.sha256(reader.read(0, reader.version.size)).hexdigest()
        version = reader.version
    files = Files(store, directory, report, opened)
    files.read(saved)
    tree: Tree = {}
    for entry in saved.entries:
        value = _value(entry, files, path, report)
        if value is not None and not _put(tree, entry, value):
            message = "another entry has the same place in the state dict that was saved"
            report(fault("metadata-invalid", message, SAVE_AGAIN, path, entry.name))
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
    entry: SavedTensor | SavedValue, files: Files, path: str, report: Report
) -> Tensor | NonTensor | None:
    """Return an entry of the tree; None for a tensor that cannot be put together."""
    if isinstance(entry, SavedValue):
        return files.value(entry)
    if 0 in entry.shape:
        return Tensor(
            entry.path[-1], entry.dtype, entry.shape, Storage(Extent(path, 0, 0), entry.name)
        )
    boxes = _boxes(entry, files)
    if boxes is None:
        return None  # which has been reported with the file that a slice should be in
    wrong: Finding | None
    if entry.dtype.bits % 8:
        message = f"slices of {entry.dtype.name} are not read"
        wrong = fault("metadata-invalid", message, SAVE_AGAIN, path, entry.name)
    else:
        wrong = _uncovered(entry, boxes, path)
    if wrong is not None:
        report(wrong)
        return None
    if len(boxes) == 1:
        return replace(boxes[0].tensor, name=entry.path[-1])
    made = Assembled(entry.shape, boxes)
    return made_tensor(entry.path[-1], entry.dtype, entry.shape, made, entry.name)


def _boxes(entry: SavedTensor, files: Files) -> tuple[Box, ...] | None:
    """Return the slices that have elements; None where one could not be read."""
    boxes = []
    for chunk in entry.chunks:
        # A slice without a place was not saved by any process: that is a gap.
        if chunk.place is not None and 0 not in chunk.shape:
            view = files.view(chunk)
            if view is None:
                return None
            boxes.append(Box(chunk.start, view))
    return tuple(boxes)


def _uncovered(entry: SavedTensor, boxes: Sequence[Box], path: str) -> Finding | None:
    """Return the finding for slices that do not cover their tensor exactly once."""
    wrong = grid_fault(entry.shape, boxes)
    if wrong is None:
        return None
    where = f"position {list(wrong.position)} of {list(entry.shape)}"
    if wrong.boxes:
        paths = (box.tensor.storage.extent.path for box in wrong.boxes[:2])
        files = " and ".join(f"'{escape(each)}'" for each in dict.fromkeys(paths))
        message = f"several slices cover {where}, in {files}"
    else:
        message = f"no slice covers {where}"
    return fault("tensor-slices", message, SAVE_AGAIN, path, entry.name)


def _put(tree: Tree, entry: SavedTensor | SavedValue, value: Tensor | NonTensor) -> bool:
    """Put an entry where its path leads; under its whole name where something is in the way.

    Return whether there was a place for it.
    """
    node = tree
    for key in entry.path[:-1]:
        inner = node.setdefault(key, {})
        if not isinstance(inner, dict):
            break
        node = inner
    else:
        if entry.path[-1] not in node:
            node[entry.path[-1]] = value
            return True
    if entry.name in tree:
        return False
    tree[entry.name] = replace(value, name=entry.name)
    return True
