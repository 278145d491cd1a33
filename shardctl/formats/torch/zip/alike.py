"""Files of torch.save that differ only in the values of their tensor: one is read, others are like.

A distributed checkpoint has such a file for each slice of each tensor, and few shapes of slices.
What may differ are the bytes of the storage, the id that torch makes of all bytes, and the
checksums of both, which are in the zip twice. All else must be equal byte for byte: then whatever
was read, and checked, of the first file holds of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from shardctl.formats.torch.zip.central import Entry, entries_of, find_directory
from shardctl.formats.torch.zip.structure import HAS_DESCRIPTOR
from shardctl.model import File, Storage, Tensor
from shardctl.stores.base import Reader

_ID = "/.data/serialization_id"
#: Where a checksum is: after the signature of a descriptor, and in an entry of the directory.
_IN_DESCRIPTOR, _IN_ENTRY, _CRC_BYTES = 4, 16, 4
#: Files that are remembered, in all and of one size, and the most bytes of each.
_MOST_FORMS, _MOST_OF_A_SIZE, _MOST_BYTES = 256, 8, 8192


class Alike:
    """Files that were read, by which others are recognised."""

    def __init__(self) -> None:
        self._forms: dict[int, list[_Form]] = {}
        self._count = 0

    def find(self, reader: Reader) -> File | None:
        """Return what reading a file would give, but for its digest; None where it must be read."""
        for form in self._forms.get(reader.version.size, ()):
            file = form.applied(reader)
            if file is not None:
                return file
        return None

    def learn(self, reader: Reader, file: File) -> None:
        """Remember a file in which nothing wrong was found, if it holds one plain tensor."""
        forms = self._forms.setdefault(reader.version.size, [])
        if self._count < _MOST_FORMS and len(forms) < _MOST_OF_A_SIZE:
            form = _form_of(reader, file)
            if form is not None:
                forms.append(form)
                self._count += 1


@dataclass(frozen=True, slots=True)
class _Varying:
    """A record whose bytes may differ: its number, and where its checksum is, twice."""

    number: int
    crcs: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Form:
    """A file of one tensor: the bytes before those of its storage, and the parts after it.

    Offsets count from the storage's `end`; `fixed` are the parts that are equal in all such files.
    """

    file: File
    name: str
    tensor: Tensor
    head: bytes
    end: int
    tail: int
    fixed: tuple[tuple[int, int, bytes], ...]
    varying: tuple[_Varying, ...]

    def applied(self, reader: Reader) -> File | None:
        """Return what a file of the same size holds; None where it is another kind of file."""
        if reader.read(0, len(self.head)) != self.head:
            return None
        tail = reader.read(self.end, self.tail)
        if any(tail[begin:end] != same for begin, end, same in self.fixed):
            return None
        records = list(self.file.records)
        storage = self.tensor.storage
        for each in self.varying:
            one, other = (tail[at : at + _CRC_BYTES] for at in each.crcs)
            crc32 = int.from_bytes(one, "little")
            if one != other or not crc32:  # 0 may stand for no checksum
                return None
            record = records[each.number]
            records[each.number] = Storage(record.extent, record.key, crc32)
            if record is self.tensor.storage:
                storage = records[each.number]
        t = self.tensor
        tensor = Tensor(t.name, t.dtype, t.shape, storage, t.offset, t.strides)
        return replace(self.file, tree={self.name: tensor}, records=tuple(records))


def _form_of(reader: Reader, file: File) -> _Form | None:
    """Return what a file has in common with others; None where that cannot be said."""
    tree = [*file.tree.items()]
    if len(tree) != 1:
        return None
    name, tensor = tree[0]
    if not isinstance(tensor, Tensor):
        return None
    extent, size = tensor.storage.extent, reader.version.size
    directory, nbytes, count = find_directory(reader)
    entries = entries_of(reader.read(directory, nbytes), directory, count)
    pairs = enumerate(zip(entries, file.records, strict=True))
    varying, free = list[_Varying](), list[tuple[int, int]]()
    for number, (entry, record) in pairs:
        is_id = entry.text.endswith(_ID)
        if not is_id and record is not tensor.storage:
            continue
        if not record.crc32 or not entry.flags & HAS_DESCRIPTOR:
            return None
        crcs = _crcs(entry, record, extent.end)
        varying.append(_Varying(number, crcs))
        free += [(at, at + _CRC_BYTES) for at in crcs]
        if is_id:
            free.append((record.extent.offset - extent.end, record.extent.end - extent.end))
    free.sort()
    tail = size - extent.end
    if not free or free[0][0] < 0 or extent.offset + tail > _MOST_BYTES:
        return None
    after = reader.read(extent.end, tail)
    fixed = tuple((begin, end, after[begin:end]) for begin, end in _between(free, tail))
    head = reader.read(0, extent.offset)
    return _Form(file, name, tensor, head, extent.end, tail, fixed, tuple(varying))


def _crcs(entry: Entry, record: Storage, begin: int) -> tuple[int, int]:
    """Return where the checksum of a record is, counted from `begin`."""
    return record.extent.end + _IN_DESCRIPTOR - begin, entry.where + _IN_ENTRY - begin


def _between(free: list[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of so many bytes that are not free."""
    for (_, begin), (end, _) in pairwise([(0, 0), *free, (length, length)]):
        yield begin, end
