"""A distributed checkpoint of torch (DCP) as one file of whole tensors, by its `.metadata`.

Source: `torch/distributed/checkpoint/filesystem.py` of torch 2.13. Each slice is a file of
torch.save within a data file, or, in the safetensors form, a tensor of a safetensors file, found by
its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

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
    Box,
    Extent,
    File,
    NonTensor,
    Storage,
    Tensor,
    Tree,
)
from shardctl.source.distributed.assemble import COPY_AGAIN, SAVE_AGAIN, assemble, put
from shardctl.source.distributed.window import Window
from shardctl.source.opened import Opened
from shardctl.stores.base import Reader, Store
from shardctl.text import escape, plural

_ZIP = b"PK\x03\x04"
_BY_RANK = re.compile(r"__(?P<rank>[0-9]{1,9})_[0-9]+\.distcp")
#: What the metadata's pickle imports in a checkpoint that torch saved.
_KNOWN_GLOBALS = ("torch.", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath")

_Slice = tuple[SavedTensor, Chunk, Place]


@dataclass(slots=True)
class _Data:
    """A data file: its slices by tensor and position, and its records with checksums."""

    found: dict[tuple[str, tuple[int, ...]], Tensor] = field(default_factory=dict)
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
        value = _value(entry, files, path, report)
        if value is not None:
            put(tree, entry.path, entry.name, value)
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
        report(_fault("metadata-invalid", message, SAVE_AGAIN, reader.path, None))
        return None
    try:
        return read_metadata(reader.read(0, size))
    except PickleFaultError as error:
        report(_fault("pickle-invalid", error.message, error.hint, reader.path, None))
    except DcpFaultError as error:
        report(_fault("metadata-invalid", error.message, SAVE_AGAIN, reader.path, error.tensor))
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
        wanted: dict[str, list[_Slice]] = {}
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
                    f"listed in the metadata but missing: {plural(len(slices), 'slice')} of "
                    f"{_rank(filename)}, the first of '{escape(slices[0][0].name)}'"
                )
                self._report(_fault("index-shard-missing", message, COPY_AGAIN, path, None))
                continue
            with self._store.open(path) as reader:
                self._opened(path, reader.version.size, number, len(wanted))
                data = self._data[filename] = _Data()
                self._read_slices(reader, slices, data)
                self.files.append(
                    File(path, DCP.name, reader.version, {}, records=tuple(data.records))
                )

    def view(self, entry: SavedTensor, chunk: Chunk) -> Tensor | None:
        """Return the tensor that a slice was found to be; None where it could not be read."""
        data = None if chunk.place is None else self._data.get(chunk.place.filename)
        return None if data is None else data.found.get((entry.name, chunk.start))

    def _read_slices(self, reader: Reader, slices: Sequence[_Slice], data: _Data) -> None:
        """Fill `data` with the slices in one file, and report those that are not as they should be.

        In the safetensors form all slices are said to begin at the beginning of the file.
        """
        head = reader.read(0, min(len(_ZIP), reader.version.size))
        if head == _ZIP or any(place.offset for _, _, place in slices):
            found = self._saved(reader, slices, data)
        else:
            found = self._named(reader, slices)
        for (entry, chunk, _), tensor in found:
            wrong = _difference(tensor, entry, chunk)
            if wrong is None:
                data.found[entry.name, chunk.start] = tensor
            else:
                self._report(
                    _fault("tensor-size-mismatch", wrong, SAVE_AGAIN, reader.path, entry.name)
                )

    def _named(self, reader: Reader, slices: Sequence[_Slice]) -> Iterator[tuple[_Slice, Tensor]]:
        """Yield the slices of a file of named tensors."""
        file = read_file(reader, self._report)
        for each in slices if file is not None else ():
            name = each[0].name
            found = None if file is None else file.tree.get(name)
            if isinstance(found, Tensor):
                yield each, found
            else:
                message = "the file does not hold the slice that the metadata says is there"
                self._report(_fault("index-tensor-missing", message, COPY_AGAIN, reader.path, name))

    def _saved(
        self, reader: Reader, slices: Sequence[_Slice], data: _Data
    ) -> Iterator[tuple[_Slice, Tensor]]:
        """Yield the slices that are a file of torch.save each, within a data file."""
        end = 0
        for each in sorted(slices, key=lambda each: each[2].offset):
            entry, _, place = each
            wrong = None
            if place.offset < end:
                # One part of a file would be read for each of the names that claim it.
                wrong = "tensor-slices", "its bytes are those of another slice as well", SAVE_AGAIN
            elif place.offset + place.length > reader.version.size:
                message = "the file ends before the end of the slice: it is not complete"
                wrong = "file-truncated", message, COPY_AGAIN
            if wrong is not None:
                self._report(_fault(*wrong, reader.path, entry.name))
                continue
            end = place.offset + place.length
            found = self._slice(reader, entry, place, data)
            if found is not None:
                yield each, found

    def _slice(
        self, reader: Reader, entry: SavedTensor, place: Place, data: _Data
    ) -> Tensor | None:
        """Return the one tensor of a file of torch.save that is a range of a data file."""

        def shifted(finding: Finding) -> None:
            offset = None if finding.offset is None else finding.offset + place.offset
            self._report(replace(finding, offset=offset, tensor=entry.name))

        file = read_file(Window(reader, place.offset, place.length), shifted)
        if file is None:
            return None
        values = tuple(file.tree.values())
        if len(values) != 1 or not isinstance(values[0], Tensor):
            message = "the slice is not one tensor of a kind that is read"
            self._report(_fault("tensor-unread", message, SAVE_AGAIN, reader.path, entry.name))
            return None
        tensor = values[0]
        data.records += [
            _moved(record, place.offset, f"{entry.name}/{record.key}") for record in file.records
        ]
        storage = _moved(tensor.storage, place.offset, f"{entry.name} at {place.offset}")
        return replace(tensor, storage=storage)


def _rank(filename: str) -> str:
    """Return which process saved a file of that name, in words."""
    named = _BY_RANK.fullmatch(filename)
    return "an unknown rank" if named is None else f"rank {int(named['rank']):,}"


def _moved(storage: Storage, by: int, key: str) -> Storage:
    extent = storage.extent
    return Storage(Extent(extent.path, extent.offset + by, extent.length), key, storage.crc32)


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
    boxes = _boxes(entry, files)
    if boxes is None:
        return None  # which has been reported with the file that a slice should be in
    return assemble(entry.name, entry.dtype, entry.shape, boxes, path, report)


def _boxes(entry: SavedTensor, files: _Files) -> tuple[Box, ...] | None:
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
