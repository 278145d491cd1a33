"""A distributed checkpoint of torch (DCP) as one file of whole tensors, by its `.metadata`.

Source: `torch/distributed/checkpoint/filesystem.py` of torch 2.13. Each slice is a file of
torch.save within a data file, or, in the safetensors form, a tensor of a safetensors file, found by
its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shardctl.boxes import fault
from shardctl.findings import Finding, Report
from shardctl.formats.dcp.format import DCP, METADATA
from shardctl.formats.dcp.metadata import (
    Chunk,
    DcpFaultError,
    Place,
    Saved,
    SavedTensor,
    SavedValue,
    read_metadata,
)
from shardctl.formats.detection import read_file
from shardctl.formats.limits import MAX_PICKLE_BYTES
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
from shardctl.source.distributed.window import Window
from shardctl.source.opened import Opened
from shardctl.stores.base import Reader, Store
from shardctl.text import escape, plural

_AGAIN = "copy the whole directory again, with the files of all ranks"
_SAVE_AGAIN = "save the checkpoint again; it cannot be completed from these files"
#: What the metadata's pickle imports in a checkpoint that torch saved.
_KNOWN_GLOBALS = ("torch.", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath")


@dataclass(slots=True)
class _Data:
    """A data file: its slices by place, as they are found, and its records with checksums."""

    found: dict[object, Tensor] = field(default_factory=dict)
    records: list[Storage] = field(default_factory=list)


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
    files = _Files(store, directory, report, opened)
    files.read(saved)
    tree: Tree = {}
    for entry in saved.entries:
        _put(tree, entry, _value(entry, files, path, report))
    whole = File(
        path,
        DCP.name,
        version,
        tree,
        header_sha256=digest,
        unsafe_globals=tuple(name for name in saved.globals if not name.startswith(_KNOWN_GLOBALS)),
    )
    return [whole, *files.files]


def _metadata(reader: Reader, report: Report) -> Saved | None:
    size = reader.version.size
    if size > MAX_PICKLE_BYTES:
        message = f"it has {size:,} bytes, more than any checkpoint needs"
        report(_fault("metadata-invalid", message, _SAVE_AGAIN, reader.path, None))
        return None
    try:
        return read_metadata(reader.read(0, size))
    except PickleFaultError as error:
        report(_fault("pickle-invalid", error.message, error.hint, reader.path, None))
    except DcpFaultError as error:
        report(_fault("metadata-invalid", error.message, _SAVE_AGAIN, reader.path, error.tensor))
    return None


def _fault(code: str, message: str, hint: str, path: str, tensor: str | None) -> Finding:
    return Finding(code, "error", message, hint, path, tensor)


class _Files:
    """The data files of a checkpoint, and what of their slices could be read."""

    def __init__(self, store: Store, directory: str, report: Report, opened: Opened) -> None:
        self._store = store
        self._directory = directory
        self._report = report
        self._opened = opened
        self._data: dict[str, _Data] = {}
        self.files: list[File] = []

    def read(self, saved: Saved) -> None:
        """Read the headers of all slices, file after file."""
        wanted: dict[str, list[tuple[SavedTensor, Chunk, Place]]] = {}
        for entry in saved.entries:
            if isinstance(entry, SavedTensor):
                for chunk in entry.chunks:
                    if chunk.place is not None:
                        slices = wanted.setdefault(chunk.place.filename, [])
                        slices.append((entry, chunk, chunk.place))
        for number, (filename, slices) in enumerate(wanted.items(), start=1):
            path = self._store.join(self._directory, *filename.split("/"))
            if self._store.kind(path) != "file":
                message = (
                    f"listed in the metadata but missing: {plural(len(slices), 'slice')}, the "
                    f"first of '{escape(slices[0][0].name)}'"
                )
                self._report(_fault("index-shard-missing", message, _AGAIN, path, None))
                continue
            with self._store.open(path) as reader:
                self._opened(path, reader.version.size, number, len(wanted))
                data = self._data[filename] = _Data()
                self._read_slices(reader, slices, data)
                self.files.append(
                    File(path, DCP.name, reader.version, {}, records=tuple(data.records))
                )

    def view(self, chunk: Chunk) -> Tensor | None:
        """Return the tensor that a slice was found to be; None where it could not be read."""
        data = None if chunk.place is None else self._data.get(chunk.place.filename)
        return None if data is None else data.found.get(_key(chunk))

    def _read_slices(
        self, reader: Reader, slices: Sequence[tuple[SavedTensor, Chunk, Place]], data: _Data
    ) -> None:
        whole: Tree | None = None
        for entry, chunk, place in slices:
            found: object
            if place.offset + place.length > reader.version.size and _is_saved(reader, place):
                message = "the file ends before the end of the slice: it is not complete"
                self._report(_fault("file-truncated", message, _AGAIN, reader.path, entry.name))
                continue
            if _is_saved(reader, place):
                found = self._saved(reader, entry, place, data)
            else:
                if whole is None:
                    file = read_file(reader, self._report)
                    whole = {} if file is None else file.tree
                found = whole.get(entry.name)
            if isinstance(found, Tensor):
                wrong = _difference(found, entry, chunk)
                if wrong is None:
                    data.found[_key(chunk)] = found
                else:
                    self._report(
                        _fault("tensor-size-mismatch", wrong, _SAVE_AGAIN, reader.path, entry.name)
                    )
            elif found is None and whole is not None:
                message = "the file does not hold the slice that the metadata says is there"
                self._report(
                    _fault("index-tensor-missing", message, _AGAIN, reader.path, entry.name)
                )

    def _saved(
        self, reader: Reader, entry: SavedTensor, place: Place, data: _Data
    ) -> Tensor | None:
        """Return the one tensor of a file of torch.save that is a range of a data file."""

        def shifted(finding: Finding) -> None:
            offset = None if finding.offset is None else finding.offset + place.offset
            self._report(replace(finding, offset=offset, tensor=entry.name))

        file = read_file(Window(reader, place.offset, place.length), shifted)
        tensors = (
            []
            if file is None
            else [each for each in file.tree.values() if isinstance(each, Tensor)]
        )
        if file is None or len(tensors) != 1:
            return None
        (tensor,) = tensors
        data.records += [
            _moved(record, place.offset, f"{entry.name}/{record.key}") for record in file.records
        ]
        storage = _moved(tensor.storage, place.offset, f"{entry.name} at {place.offset}")
        return replace(tensor, storage=storage)


def _is_saved(reader: Reader, place: Place) -> bool:
    """Whether a file of torch.save begins at a place: else the data file is safetensors."""
    within = place.offset + 4 <= reader.version.size
    return within and reader.read(place.offset, 4) == b"PK\x03\x04"


def _moved(storage: Storage, by: int, key: str) -> Storage:
    extent = storage.extent
    return Storage(Extent(extent.path, extent.offset + by, extent.length), key, storage.crc32)


def _key(chunk: Chunk) -> object:
    return (chunk.place, chunk.start, chunk.shape)


def _difference(found: Tensor, entry: SavedTensor, chunk: Chunk) -> str | None:
    """Return how a slice differs from what the metadata says of it; None where it does not."""
    if found.dtype is not entry.dtype:
        return f"the slice is {found.dtype.name}, and the metadata says {entry.dtype.name}"
    if found.shape != chunk.shape:
        return f"the slice is {list(found.shape)}, and the metadata says {list(chunk.shape)}"
    return None


def _value(
    entry: SavedTensor | SavedValue, files: _Files, path: str, report: Report
) -> Tensor | NonTensor | None:
    """Return an entry of the tree; None for a tensor that cannot be put together."""
    if isinstance(entry, SavedValue):
        return NonTensor(entry.name, "bytes of a pickle")
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
        wrong = _fault("metadata-invalid", message, _SAVE_AGAIN, path, entry.name)
    else:
        wrong = _uncovered(entry, boxes, path)
    if wrong is not None:
        report(wrong)
        return None
    if len(boxes) == 1:
        return replace(boxes[0].tensor, name=entry.path[-1])
    made = Assembled(entry.shape, boxes)
    return made_tensor(entry.path[-1], entry.dtype, entry.shape, made, entry.name)


def _boxes(entry: SavedTensor, files: _Files) -> tuple[Box, ...] | None:
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
    wrong = fault(entry.shape, boxes)
    if wrong is None:
        return None
    where = f"position {list(wrong.position)} of {list(entry.shape)}"
    if wrong.boxes:
        paths = (box.tensor.storage.extent.path for box in wrong.boxes[:2])
        files = " and ".join(f"'{escape(each)}'" for each in dict.fromkeys(paths))
        message = f"several slices cover {where}, in {files}"
    else:
        message = f"no slice covers {where}"
    return _fault("tensor-slices", message, _SAVE_AGAIN, path, entry.name)


def _put(tree: Tree, entry: SavedTensor | SavedValue, value: Tensor | NonTensor | None) -> None:
    """Put an entry where its path leads; under its whole name where something is in the way."""
    if value is None:
        return
    node = tree
    for key in entry.path[:-1]:
        inner = node.setdefault(key, {})
        if not isinstance(inner, dict):
            break
        node = inner
    else:
        if entry.path[-1] not in node:
            node[entry.path[-1]] = value
            return
    tree[entry.name] = replace(value, name=entry.name)
