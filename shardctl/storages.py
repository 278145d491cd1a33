"""Which tensors share a storage, which are tied, and which others one is made from."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from shardctl.columns import Columns, Tensors, sizes_of
from shardctl.model import Assembled, Box, Cast, Checkpoint, Extent, Storage, Tensor

#: What two tensors have in common when they share a storage.
_Identity = tuple[str, str]


class Unit(NamedTuple):
    """What packing cannot divide: a tensor, or several that share a storage or belong together.

    `group` is the name of the group of tensors that it is, where tensors were grouped.
    """

    tensors: tuple[Tensor, ...]
    nbytes: int
    group: str | None = None

    @property
    def name(self) -> str:
        """The name of its largest tensor, the first of equal ones."""
        return max(self.tensors, key=lambda tensor: tensor.nbytes).name


def by_file(tensors: Iterable[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Yield the tensors of one file at a time, files in the order of their first tensors.

    Two files share no storage.
    """
    if isinstance(tensors, Tensors):
        parts: dict[str, list[Columns]] = {}
        for part in filter(len, tensors.parts):
            parts.setdefault(part.path, []).append(part)
        yield from map(Tensors, parts.values())
        return
    files: dict[str, list[Tensor]] = {}
    # Those of a file mostly follow one another.
    for path, some in itertools.groupby(tensors, lambda tensor: tensor.storage.extent.path):
        files.setdefault(path, []).extend(some)
    yield from files.values()


def tensors_by_path(
    tensors: Iterable[Tensor], paths: Iterable[str] = ()
) -> dict[str, Sequence[Tensor]]:
    """Return the tensors of each file by its path; what is made counts by its first source.

    Of files whose `paths` are given there may be none.
    """
    none: dict[str, Sequence[Tensor]] = dict.fromkeys(paths, ())
    return none | {
        held.parts[0].path if isinstance(held, Tensors) else held[0].storage.extent.path: held
        for held in by_file(tensors)
    }


def storage_units(tensors: Sequence[Tensor]) -> list[Unit]:
    """Group tensors by the storage that they share, in order of first appearance.

    A unit counts the bytes that its tensors use of the storage, from the first to the last: what is
    written.
    """
    groups = shared_storages(tensors)
    units: list[Unit] = []
    for tensor in tensors:
        group = groups.get(tensor.storage.identity) if groups else None
        if group is None:
            units.append(Unit((tensor,), tensor.span.length))
        elif group[0] is tensor:
            units.append(Unit(tuple(group), used_extent(group).length))
    return units


def shared_storages(tensors: Iterable[Tensor]) -> dict[tuple[str, str], list[Tensor]]:
    """Return the tensors of each storage that several of them view, by the storage's identity.

    Most storages are of one tensor, and so nothing is kept for those.
    """
    groups: dict[tuple[str, str], list[Tensor]] = {}
    for held in by_file(tensors):
        if _share_nothing(held):
            continue
        some: dict[str, list[Tensor]] = {}
        for tensor in held:
            some.setdefault(tensor.storage.key, []).append(tensor)
        groups.update(
            (group[0].storage.identity, group) for group in some.values() if len(group) > 1
        )
    return groups


def _share_nothing(held: Sequence[Tensor]) -> bool:
    """Whether no two tensors of one file view one storage."""
    return isinstance(held, Tensors) or len({tensor.storage.key for tensor in held}) == len(held)


def used_bytes(tensors: Sequence[Tensor]) -> int:
    """Return the bytes that tensors use of their storages: what is written of them."""
    if isinstance(tensors, Tensors):
        return sum(sizes_of(tensors))
    groups = shared_storages(tensors)
    alone: Iterable[Tensor] = tensors
    if groups:
        alone = (tensor for tensor in tensors if tensor.storage.identity not in groups)
    shared = sum(used_extent(group).length for group in groups.values())
    return shared + sum(tensor.span.length for tensor in alone)


def used_extent(tensors: Sequence[Tensor]) -> Extent:
    """Return the part of one storage that its tensors use.

    It begins at a multiple of every tensor's element size.
    """
    if len(tensors) == 1:
        return tensors[0].span
    whole = tensors[0].storage.extent
    spans = [tensor.span for tensor in tensors if tensor.elements]
    if not spans:
        return whole.part(0, 0)
    align = max(max(tensor.dtype.bits // 8, 1) for tensor in tensors)
    begin = min(span.offset for span in spans) - whole.offset
    end = max(span.end for span in spans) - whole.offset
    begin -= begin % align
    return whole.part(begin, end - begin)


def named_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return every tensor by name, with recorded aliases."""
    tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
    for alias, kept in checkpoint.aliases.items():
        tensors[alias] = replace(tensors[kept], name=alias)
    return tensors


def tied_names(tensors: Iterable[Tensor]) -> Iterator[list[str]]:
    """Yield the names of each set of tied tensors."""
    for held in by_file(tensors):
        if _share_nothing(held):
            continue
        names: dict[object, list[str]] = {}
        for tensor in held:
            identity = tensor.identity
            if identity is not None:
                names.setdefault(identity, []).append(tensor.name)
        yield from (tied for tied in names.values() if len(tied) > 1)


def own_storage(tensor: Tensor) -> Tensor:
    """Return a tensor with a storage that no other views: the bytes of its storage that it spans.

    The checksum of the whole storage is kept with it.
    """
    span, whole = tensor.span, tensor.storage.extent
    key = f"of {tensor.name}"
    if span == whole:
        return replace(tensor, storage=replace(tensor.storage, key=key), offset=0)
    part = Storage(span, key, cut_from=tensor.storage)
    return Tensor(tensor.name, tensor.dtype, tensor.shape, part, 0, tensor.strides)


def checked_once(files: Iterable[Sequence[Tensor]]) -> Iterator[Sequence[Tensor]]:
    """Yield the tensors of each file to write, with each checksum left to the first that needs it.

    Parts of one storage can go to many files, and its checksum can only be compared with all of its
    bytes: without this, every file would read all of them.
    """
    done: set[_Identity] = set()
    for tensors in files:
        if isinstance(tensors, Tensors):  # for which no checksum is recorded
            yield tensors
            continue
        own: set[_Identity] = set()
        yield tuple(_unchecked(tensor, done, own) for tensor in tensors)
        done |= own


def _unchecked(tensor: Tensor, done: Container[_Identity], own: set[_Identity]) -> Tensor:
    """Return a tensor without the checksums in `done`; those of other partial views go to `own`."""
    storage, made = tensor.storage, tensor.storage.made
    match made:
        case None:
            recorded = storage.recorded
            partial = recorded.crc32 is not None and tensor.span.length < recorded.extent.length
            if not partial:
                return tensor
            if recorded.identity not in done:
                own.add(recorded.identity)
                return tensor
            plain = replace(storage, crc32=None, cut_from=None)
        case Cast():
            source = _unchecked(made.tensor, done, own)
            if source is made.tensor:
                return tensor
            plain = replace(storage, made=Cast(source))
        case Assembled():
            views = [_unchecked(box.tensor, done, own) for box in made.boxes]
            if all(view is box.tensor for view, box in zip(views, made.boxes, strict=True)):
                return tensor
            boxes = (Box(box.start, view) for view, box in zip(views, made.boxes, strict=True))
            plain = replace(storage, made=Assembled(made.grid, tuple(boxes)))
    return replace(tensor, storage=plain)


def sources_of(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the tensors whose bytes are in files that a tensor is made from; itself, if it is one.

    Those of what is made have no names.
    """
    made = tensor.storage.made
    match made:
        case None:
            yield tensor
        case Cast():
            yield from sources_of(made.tensor)
        case Assembled():
            for box in made.boxes:
                yield from sources_of(box.tensor)
