"""The data files of a distributed checkpoint, and the slices and values that are ranges of them.

Each is a file of torch.save within the data file, or, in the safetensors form, a tensor of a
safetensors file, found by its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from shardctl.findings import Finding, Report
from shardctl.formats.dcp.format import DCP
from shardctl.formats.dcp.metadata import Chunk, Place, Saved, SavedTensor, SavedValue
from shardctl.formats.dcp.values import read_value
from shardctl.formats.detection import read_file
from shardctl.model import Extent, File, NonTensor, Storage, Tensor, Tree
from shardctl.source.distributed.window import Window
from shardctl.source.opened import Opened
from shardctl.stores.base import Reader, Store
from shardctl.text import escape, plural

_AGAIN = "copy the whole directory again, with the files of all ranks"
SAVE_AGAIN = "save the checkpoint again; it cannot be completed from these files"


def fault(code: str, message: str, hint: str, path: str, tensor: str | None) -> Finding:
    """Return the error for an entry of a checkpoint."""
    return Finding(code, "error", message, hint, path, tensor)


#: What is a range of a data file: a slice of a tensor, or the whole of a value.
_Part = tuple[SavedTensor | SavedValue, Chunk | None, Place]


@dataclass(slots=True)
class _Data:
    """What was found in a data file: slices by place, and values by name.

    Also its records with checksums, and what loading its pickles would import or allocate.
    """

    found: dict[object, Tensor] = field(default_factory=dict)
    values: dict[str, NonTensor] = field(default_factory=dict)
    records: list[Storage] = field(default_factory=list)
    unsafe: dict[str, None] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    allocations: list[tuple[str, int]] = field(default_factory=list)

    def as_file(self, reader: Reader) -> File:
        """Return the data file, in which no tensors are listed."""
        return File(
            reader.path,
            DCP.name,
            reader.version,
            {},
            unsafe_globals=tuple(self.unsafe),
            refused=tuple(self.refused),
            allocations=tuple(self.allocations),
            records=tuple(self.records),
        )


class Files:
    """The data files of a checkpoint, and what of their slices and values could be read."""

    def __init__(self, store: Store, directory: str, report: Report, opened: Opened) -> None:
        self._store = store
        self._directory = directory
        self._report = report
        self._opened = opened
        self._data: dict[str, _Data] = {}
        self.files: list[File] = []

    def read(self, saved: Saved) -> None:
        """Read the headers of all slices and values, file after file."""
        wanted: dict[str, list[_Part]] = {}
        for part in _parts(saved):
            wanted.setdefault(part[2].filename, []).append(part)
        for number, (filename, parts) in enumerate(wanted.items(), start=1):
            path = self._store.join(self._directory, *filename.split("/"))
            if self._store.kind(path) != "file":
                message = (
                    f"listed in the metadata but missing: {plural(len(parts), 'slice')}, the "
                    f"first of '{escape(parts[0][0].name)}'"
                )
                self._report(fault("index-shard-missing", message, _AGAIN, path, None))
                continue
            with self._store.open(path) as reader:
                self._opened(path, reader.version.size, number, len(wanted))
                data = self._data[filename] = _Data()
                self._read_parts(reader, parts, data)
                self.files.append(data.as_file(reader))
        self._report_unlisted(wanted)

    def _report_unlisted(self, wanted: Collection[str]) -> None:
        for entry in self._store.list(self._directory):
            if entry.name.endswith(DCP.suffixes) and entry.name not in wanted and entry.readable:
                message = "the metadata lists nothing that is in it"
                hint = "it is left over, or the metadata is that of another save: remove it, or the"
                hint += " whole directory, and save the checkpoint again"
                path = self._store.join(self._directory, entry.name)
                self._report(Finding("shard-unlisted", "warning", message, hint, path))

    def view(self, chunk: Chunk) -> Tensor | None:
        """Return the tensor that a slice was found to be; None where it could not be read."""
        data = None if chunk.place is None else self._data.get(chunk.place.filename)
        return None if data is None else data.found.get(_key(chunk))

    def value(self, entry: SavedValue) -> NonTensor | None:
        """Return what a value was found to be; None where it could not be read."""
        data = self._data.get(entry.place.filename)
        return None if data is None else data.values.get(entry.name)

    def _read_parts(self, reader: Reader, parts: Sequence[_Part], data: _Data) -> None:
        whole: Tree | None = None
        for entry, chunk, place in parts:
            found: object
            if place.offset + place.length > reader.version.size and _is_saved(reader, place):
                message = "the file ends before the end of the slice: it is not complete"
                self._report(fault("file-truncated", message, _AGAIN, reader.path, entry.name))
                continue
            if chunk is None or _is_saved(reader, place):
                file = self._saved(reader, entry, place, data)
                if file is None:
                    continue  # which has been reported
                found = _only(file.tree)
            else:
                if whole is None:
                    file = read_file(reader, self._report)
                    whole = {} if file is None else file.tree
                found = whole.get(entry.name)
            if chunk is None and isinstance(found, NonTensor):
                data.values[entry.name] = found
            elif chunk is not None and isinstance(entry, SavedTensor) and isinstance(found, Tensor):
                self._keep(found, entry, chunk, reader.path, data)
            else:
                message = "the file does not hold the slice that the metadata says is there"
                self._report(
                    fault("index-tensor-missing", message, _AGAIN, reader.path, entry.name)
                )

    def _keep(
        self, found: Tensor, entry: SavedTensor, chunk: Chunk, path: str, data: _Data
    ) -> None:
        wrong = _difference(found, entry, chunk)
        if wrong is None:
            data.found[_key(chunk)] = found
        else:
            self._report(fault("tensor-size-mismatch", wrong, SAVE_AGAIN, path, entry.name))

    def _saved(
        self, reader: Reader, entry: SavedTensor | SavedValue, place: Place, data: _Data
    ) -> File | None:
        """Read the file of torch.save that is a range of a data file; its offsets are those there.

        None where it cannot be read, which is reported.
        """
        errors = 0

        def shifted(finding: Finding) -> None:
            nonlocal errors
            errors += finding.severity == "error"
            offset = None if finding.offset is None else finding.offset + place.offset
            self._report(replace(finding, offset=offset, tensor=entry.name))

        window = Window(reader, place.offset, place.length)
        file = (
            read_value(window, shifted, entry.name)
            if isinstance(entry, SavedValue)
            else read_file(window, shifted)
        )
        if file is None:
            return None
        data.unsafe |= dict.fromkeys(file.unsafe_globals)
        data.refused |= dict.fromkeys(file.refused)
        data.allocations += file.allocations
        data.records += [
            _moved(record, place.offset, f"{entry.name}/{record.key}") for record in file.records
        ]
        if errors and not isinstance(_only(file.tree), Tensor | NonTensor):
            return None  # what is missing was said
        tree: Tree = {
            name: replace(
                each, storage=_moved(each.storage, place.offset, f"{entry.name} at {place.offset}")
            )
            if isinstance(each, Tensor)
            else each
            for name, each in file.tree.items()
        }
        return replace(file, tree=tree)


def _parts(saved: Saved) -> Iterator[_Part]:
    for entry in saved.entries:
        if isinstance(entry, SavedValue):
            yield entry, None, entry.place
            continue
        for chunk in entry.chunks:
            if chunk.place is not None:
                yield entry, chunk, chunk.place


def _only(tree: Tree) -> object:
    """Return the one entry of a tree; None where there are others or none."""
    return next(iter(tree.values())) if len(tree) == 1 else None


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
