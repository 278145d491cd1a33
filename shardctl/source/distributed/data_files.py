"""The data files of a distributed checkpoint, and the slices and values that are ranges of them.

Each is a file of torch.save within the data file, or, in the safetensors form, a tensor of a
safetensors file, found by its name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from shardctl.findings import Finding, Report, ignore
from shardctl.formats.dcp.format import DCP
from shardctl.formats.dcp.metadata import Chunk, Place, Saved, SavedTensor, SavedValue
from shardctl.formats.dcp.values import read_value
from shardctl.formats.detection import read_file
from shardctl.formats.torch.zip.alike import Alike
from shardctl.model import Extent, File, NonTensor, Root, Storage, Tensor, Tree
from shardctl.source.distributed.assemble import COPY_AGAIN, SAVE_AGAIN
from shardctl.source.distributed.records import SliceRecords
from shardctl.source.distributed.window import Window
from shardctl.source.opened import Opened
from shardctl.stores.base import Reader, Store
from shardctl.stores.paths import below
from shardctl.text import escape, plural

_ZIP = b"PK\x03\x04"
_BY_RANK = re.compile(r"__(?P<rank>[0-9]{1,9})_[0-9]+\.distcp")


def fault(code: str, message: str, hint: str, path: str, tensor: str | None) -> Finding:
    """Return the error for an entry of a checkpoint."""
    return Finding(code, "error", message, hint, path, tensor)


@dataclass(frozen=True, slots=True)
class _Part:
    """What is a range of a data file: a slice of a tensor, or, without a chunk, a whole value."""

    entry: SavedTensor | SavedValue
    chunk: Chunk | None
    place: Place


@dataclass(slots=True)
class _Data:
    """What was found in a data file: slices by tensor, position and shape, and values by name.

    Also its records with checksums, what loading its pickles would import or allocate, and by what
    slices are recognised that are like others of the file.
    """

    records: SliceRecords
    found: dict[object, Tensor] = field(default_factory=dict)
    values: dict[str, NonTensor] = field(default_factory=dict)
    unsafe: dict[str, None] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    allocations: list[tuple[str, int]] = field(default_factory=list)
    alike: Alike = field(default_factory=Alike)

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
            records=self.records,
        )


class DataFiles:
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
            wanted.setdefault(part.place.filename, []).append(part)
        for number, (filename, parts) in enumerate(wanted.items(), start=1):
            path = below(self._store, self._directory, filename)
            if self._store.kind(path) != "file":
                message = (
                    f"listed in the metadata but missing: {plural(len(parts), 'slice')} of "
                    f"{_rank(filename)}, the first of '{escape(parts[0].entry.name)}'"
                )
                self._report(fault("index-shard-missing", message, COPY_AGAIN, path, None))
                continue
            with self._store.open(path) as reader:
                self._opened(path, reader.version.size, number, len(wanted))
                data = self._data[filename] = _Data(SliceRecords(path))
                self._read_parts(reader, parts, data)
                self.files.append(data.as_file(reader))
        self._report_unlisted(wanted)

    def _report_unlisted(self, wanted: Collection[str]) -> None:
        for entry in self._store.list(self._directory):
            if not entry.name.endswith(DCP.suffixes) or entry.name in wanted or not entry.readable:
                continue
            path = self._store.join(self._directory, entry.name)
            if not self._is_empty(path):
                message = "the metadata lists nothing that is in it"
                hint = "it is left over, or the metadata is that of another save: remove it, or the"
                hint += " whole directory, and save the checkpoint again"
                self._report(Finding("shard-unlisted", "warning", message, hint, path))

    def _is_empty(self, path: str) -> bool:
        """Whether a data file holds nothing, as that of a process that has nothing to save."""
        with self._store.open(path) as reader:
            file = read_file(reader, ignore) if reader.version.size else None
            return not reader.version.size or (file is not None and not file.tree)

    def view(self, entry: SavedTensor, chunk: Chunk) -> Tensor | None:
        """Return the tensor that a slice was found to be; None where it could not be read."""
        data = None if chunk.place is None else self._data.get(chunk.place.filename)
        return None if data is None else data.found.get(_key(entry, chunk))

    def value(self, entry: SavedValue) -> NonTensor | None:
        """Return what a value was found to be; None where it could not be read."""
        data = self._data.get(entry.place.filename)
        return None if data is None else data.values.get(entry.name)

    def _read_parts(self, reader: Reader, parts: Sequence[_Part], data: _Data) -> None:
        """Fill `data` with what is in one file, and report what is not as it should be.

        In the safetensors form all slices are said to begin at the beginning of the file.
        """
        head = reader.read(0, min(len(_ZIP), reader.version.size))
        slices = [part for part in parts if part.chunk is not None]
        if head == _ZIP or any(part.place.offset for part in slices):
            saved, named = parts, []
        else:
            saved, named = [part for part in parts if part.chunk is None], slices
        for part, found in (*self._saved(reader, saved, data), *self._named(reader, named)):
            entry, chunk = part.entry, part.chunk
            if chunk is None and isinstance(found, NonTensor):
                data.values[entry.name] = found
            elif chunk is not None and isinstance(entry, SavedTensor) and isinstance(found, Tensor):
                self._keep(found, entry, chunk, reader.path, data)
            else:
                message = "the file does not hold the slice that the metadata says is there"
                self._report(
                    fault("index-tensor-missing", message, COPY_AGAIN, reader.path, entry.name)
                )

    def _keep(
        self, found: Tensor, entry: SavedTensor, chunk: Chunk, path: str, data: _Data
    ) -> None:
        wrong = _difference(found, entry, chunk)
        if wrong is None:
            data.found[_key(entry, chunk)] = found
        else:
            self._report(fault("tensor-size-mismatch", wrong, SAVE_AGAIN, path, entry.name))

    def _named(self, reader: Reader, parts: Sequence[_Part]) -> Iterator[tuple[_Part, object]]:
        """Yield what is found for the slices of a file of named tensors."""
        file = read_file(reader, self._report) if parts else None
        if file is not None:
            for part in parts:
                yield part, file.tree.get(part.entry.name)

    def _saved(
        self, reader: Reader, parts: Sequence[_Part], data: _Data
    ) -> Iterator[tuple[_Part, object]]:
        """Yield what is found for the parts of a data file that are a file of torch.save each.

        What cannot be read is reported, and left out.
        """
        end = 0
        for part in sorted(parts, key=lambda part: part.place.offset):
            place = part.place
            wrong = None
            if place.offset < end:
                # One part of a file would be read for each of the names that claim it.
                wrong = "tensor-slices", "its bytes are those of another slice as well", SAVE_AGAIN
            elif place.offset + place.length > reader.version.size:
                message = "the file ends before the end of the slice: it is not complete"
                wrong = "file-truncated", message, COPY_AGAIN
            if wrong is not None:
                self._report(fault(*wrong, reader.path, part.entry.name))
                continue
            end = place.offset + place.length
            tree = self._range(reader, part.entry, place, data)
            if tree is not None:
                yield part, _only(tree)

    def _range(
        self, reader: Reader, entry: SavedTensor | SavedValue, place: Place, data: _Data
    ) -> Tree | None:
        """Read the file of torch.save that is a range of a data file; its offsets are those there.

        None where it cannot be read, which is reported.
        """
        said: list[str] = []

        def shifted(finding: Finding) -> None:
            said.append(finding.severity)
            offset = None if finding.offset is None else finding.offset + place.offset
            self._report(replace(finding, offset=offset, tensor=entry.name))

        window = Window(reader, place.offset, place.length)
        if isinstance(entry, SavedValue):
            file = read_value(window, shifted, entry.name)
        else:
            file = data.alike.find(window)
            if file is None:
                file = read_file(window, shifted)
                if file is not None and not said:
                    data.alike.learn(window, file)
        if file is None:
            return None
        data.unsafe |= dict.fromkeys(file.unsafe_globals)
        data.refused |= dict.fromkeys(file.refused)
        data.allocations += file.allocations
        data.records.add(entry.name, file.records, place.offset)
        if "error" in said and not isinstance(_only(file.tree), Tensor | NonTensor):
            return None  # what is missing was said
        key = f"{entry.name} at {place.offset}"
        return {
            name: replace(each, storage=_moved(each.storage, place.offset, key))
            if isinstance(each, Tensor)
            else each
            for name, each in file.tree.items()
        }


def _parts(saved: Saved) -> Iterator[_Part]:
    for entry in saved.entries:
        if isinstance(entry, SavedValue):
            yield _Part(entry, None, entry.place)
            continue
        for chunk in entry.chunks:
            if chunk.place is not None:
                yield _Part(entry, chunk, chunk.place)


def _rank(filename: str) -> str:
    """Return which process saved a file of that name, in words."""
    named = _BY_RANK.fullmatch(filename)
    return "an unknown rank" if named is None else f"rank {int(named['rank']):,}"


def _only(tree: Root) -> object:
    """Return the one entry of a tree; None where there are others or none."""
    return next(iter(tree.values())) if len(tree) == 1 else None


def _moved(storage: Storage, by: int, key: str) -> Storage:
    extent = storage.extent
    return Storage(Extent(extent.path, extent.offset + by, extent.length), key, storage.crc32)


def _key(entry: SavedTensor, chunk: Chunk) -> object:
    """Return what tells a slice from all others; several of one file may have the same place."""
    return (entry.name, chunk.start, chunk.shape)


def _difference(found: Tensor, entry: SavedTensor, chunk: Chunk) -> str | None:
    """Return how a slice differs from what the metadata says of it; None where it does not."""
    if found.dtype is not entry.dtype:
        return f"the slice is {found.dtype.name}, and the metadata says {entry.dtype.name}"
    if found.shape != chunk.shape:
        return f"the slice is {list(found.shape)}, and the metadata says {list(chunk.shape)}"
    return None
