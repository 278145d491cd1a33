"""The state dicts of all ranks of a model that was trained in parts, one torch file for each.

What is divided are DTensors, each with the part of one rank
(`formats.torch.distributed.dtensor`). What is a plain tensor is the same in every rank, and the
first one counts. Nothing in the files says of which step of training they are: that such tensors
have the same checksums is all that can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from shardctl.findings import Finding, Report
from shardctl.formats.detection import read_file
from shardctl.formats.torch.distributed.slices import is_known
from shardctl.model import Box, File, NonTensor, Slice, Tensor, Tree
from shardctl.source.directory.absent import absent
from shardctl.source.distributed.assemble import NO_PLACE, SAVE_AGAIN, assemble, put
from shardctl.source.opened import Opened
from shardctl.source.state_dict import leaves
from shardctl.stores.base import Store
from shardctl.text import escape, plural

_ONE_SAVE = "make sure that all files are of one save: copy them, or save the checkpoint, again"


@dataclass(slots=True)
class _Entry:
    """One entry of the state dict: its value in the first file that has it, and all its boxes.

    Boxes are by where they begin and their shape: ranks of a replica have the same ones.
    """

    value: Tensor | NonTensor
    path: str
    boxes: dict[tuple[tuple[int, ...], tuple[int, ...]], Box] = field(default_factory=dict)
    whole: bool = True


def read_ranks(store: Store, paths: Sequence[str], report: Report, opened: Opened) -> list[File]:
    """Return the files of the ranks; the first holds all the tensors, the others none.

    What is wrong goes to `report`. A tensor with a part that cannot be read or placed is left out.
    """
    files: list[File] = []
    entries: dict[tuple[str, ...], _Entry] = {}
    for number, path in enumerate(paths, start=1):
        missing = absent(store, path)
        if missing is not None:
            report(missing)
            continue
        with store.open(path) as reader:
            opened(path, reader.version.size, number, len(paths))
            file = read_file(reader, report)
        if file is not None:
            for finding in _add(file, entries):
                report(finding)
            unsafe = tuple(name for name in file.unsafe_globals if not is_known(name))
            files.append(replace(file, tree={}, unsafe_globals=unsafe))
    tree: Tree = {}
    made: dict[object, Tensor] = {}
    for keys, entry in entries.items():
        name = ".".join(keys)
        value = _value(name, entry, made, report)
        if value is not None and not put(tree, keys, name, value):
            report(Finding("tensor-slices", "error", NO_PLACE, SAVE_AGAIN, entry.path, name))
    return [replace(file, tree=tree) for file in files[:1]] + files[1:]


def _add(file: File, entries: dict[tuple[str, ...], _Entry]) -> Iterator[Finding]:
    """Add what one rank has to the entries; yield what does not fit to the ranks before."""
    unlike: dict[str, str] = {}
    for keys, value in leaves(file.tree):
        entry = entries.setdefault(keys, _Entry(value, file.path))
        wrong = _difference(entry.value, value, entry.path)
        pairs: list[tuple[object, object]] = [(entry.value, value)]
        if isinstance(value, Slice):
            wrong = value.wrong or wrong
            pairs = [
                (entry.boxes.setdefault((box.start, box.tensor.shape), box).tensor, box.tensor)
                for box in value.boxes
            ]
        name = ".".join(keys)
        if wrong:
            entry.whole = False
            yield Finding("tensor-slices", "error", wrong, SAVE_AGAIN, file.path, name)
        elif any(_has_other_values(first, other) for first, other in pairs):
            unlike[name] = entry.path
    if unlike:
        name, path = next(iter(unlike.items()))
        message = (
            f"{plural(len(unlike), 'tensor')} that should be the same in every rank "
            f"{'has' if len(unlike) == 1 else 'have'} other values, the first is "
            f"'{escape(name)}': those in '{escape(path)}' are taken"
        )
        yield Finding("tensor-slices", "warning", message, _ONE_SAVE, file.path, name)


def _has_other_values(first: object, other: object) -> bool:
    """Whether the checksums of two whole storages show that their tensors are not the same."""
    if first is other or not isinstance(first, Tensor) or not isinstance(other, Tensor):
        return False
    sums = [
        (each.storage.crc32, each.dtype, each.shape, each.strides)
        for each in (first, other)
        if each.storage.crc32 is not None and each.span == each.storage.extent
    ]
    return len(sums) == 2 and sums[0][0] != sums[1][0] and sums[0][1:] == sums[1][1:]


def _difference(first: Tensor | NonTensor, value: Tensor | NonTensor, path: str) -> str:
    """Return how the part of a rank differs from that of another; empty where they fit."""
    if isinstance(first, NonTensor) and isinstance(value, NonTensor):
        if not isinstance(first, Slice) and not isinstance(value, Slice):
            return ""
    elif type(first) is not type(value):
        return f"it is a whole tensor in one file, and not in the other, '{escape(path)}'"
    if not isinstance(first, Slice | Tensor) or not isinstance(value, Slice | Tensor):
        return f"it is a tensor in one file, and not in the other, '{escape(path)}'"
    wrong = isinstance(first, Slice) and first.wrong
    if not wrong and (first.shape, first.dtype) != (value.shape, value.dtype):
        return f"it has another shape or type than in '{escape(path)}'"
    return ""


def _value(
    name: str, entry: _Entry, made: dict[object, Tensor], report: Report
) -> Tensor | NonTensor | None:
    """Return an entry of the tree; None for a tensor that cannot be put together.

    `made` are the tensors that were, by what they are made of: with the same boxes they are tied.
    """
    value = entry.value
    if not isinstance(value, Slice) or value.dtype is None:
        return value if entry.whole else None
    if not entry.whole:
        return None
    boxes = tuple(entry.boxes.values())
    sources = frozenset((box.start, box.tensor.identity) for box in boxes if box.tensor.elements)
    identity = (value.dtype.name, value.shape, sources)
    known = made.get(identity)
    if known is not None:
        return replace(known, name=name)
    tensor = assemble(name, value.dtype, value.shape, boxes, entry.path, report)
    if tensor is not None and sources:
        made[identity] = tensor
    return tensor
