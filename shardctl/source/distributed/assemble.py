"""Put the slices that several processes saved together to whole tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from shardctl.boxes import fault, is_lattice
from shardctl.findings import Finding, Report
from shardctl.model import (
    Assembled,
    Box,
    Dtype,
    Extent,
    NonTensor,
    Storage,
    Tensor,
    Tree,
    made_tensor,
)
from shardctl.storages import own_storage, sources_of
from shardctl.text import escape, plural

#: What to do about slices that do not fit together.
SAVE_AGAIN = "save the checkpoint again; it cannot be completed from these files"
#: What to do about files that are missing or damaged.
COPY_AGAIN = "copy the whole directory again, with the files of all ranks"
#: What is wrong with a value for which `put` finds no place.
NO_PLACE = "another entry has the same place in the state dict that was saved"
_SHOWN = 3
#: Missing ranks that are listed.
_MOST_MISSING = 10
#: Slices of one tensor that need not lie in a lattice: more take too long to compare.
_MOST_IRREGULAR = 2_000


class Slices(NamedTuple):
    """How many tensors there are, in how many slices, in how many files."""

    tensors: int
    number: int
    files: int


def slices_of(tensors: Iterable[Tensor]) -> Slices:
    """Count the slices from which tensors with elements are put together; a whole one is one."""
    count = number = 0
    paths = set[str]()
    for tensor in tensors:
        if tensor.elements:
            count += 1
            for source in sources_of(tensor):
                number += 1
                paths.add(source.storage.extent.path)
    return Slices(count, number, len(paths))


def missing_ranks(missing: Iterable[int], path: str) -> Finding | None:
    """Return the error for ranks without a file, the first of which are listed; None without any.

    `path` is that of one that is there.
    """
    ranks = list(islice(missing, _MOST_MISSING))
    if not ranks:
        return None
    more = ", …" if len(ranks) == _MOST_MISSING else ""
    message = f"the files of some processes are missing: rank {', '.join(map(str, ranks))}{more}"
    return Finding("shard-set-incomplete", "error", message, COPY_AGAIN, path)


def assemble(
    name: str, dtype: Dtype, shape: tuple[int, ...], boxes: Sequence[Box], path: str, report: Report
) -> Tensor | None:
    """Return the tensor of that name and shape that the boxes cover exactly once.

    Boxes without elements are left out. None where the boxes leave a gap or overlap, or cannot be
    put together: that goes to `report`, with `path` as the file.
    """
    held = tuple(box for box in boxes if box.tensor.elements)
    if 0 in shape:
        return Tensor(name, dtype, shape, Storage(Extent(path, 0, 0), name))
    wrong = _sub_byte(dtype, held) or _uncovered(shape, held)
    if wrong is not None:
        report(Finding("tensor-slices", "error", wrong, SAVE_AGAIN, path, name))
        return None
    if len(held) == 1:
        return own_storage(replace(held[0].tensor, name=name))
    return made_tensor(name, dtype, shape, Assembled(shape, held), name)


def put(tree: Tree, path: Sequence[str], name: str, value: Tensor | NonTensor) -> bool:
    """Put a value where its path leads; under its whole name where something is in the way.

    Return whether there was a place for it: no value takes that of another.
    """
    node = tree
    for key in path[:-1]:
        inner = node.setdefault(key, {})
        if not isinstance(inner, dict):
            break
        node = inner
    else:
        if path[-1] not in node:
            node[path[-1]] = replace(value, name=path[-1])
            return True
    if name in tree:
        return False
    tree[name] = replace(value, name=name)
    return True


def _sub_byte(dtype: Dtype, boxes: Sequence[Box]) -> str | None:
    if dtype.bits % 8 and len(boxes) > 1:
        return f"slices of {dtype.name}, whose elements are not whole bytes, are not read"
    return None


def _uncovered(shape: tuple[int, ...], boxes: Sequence[Box]) -> str | None:
    """Return in words where boxes do not cover their tensor exactly once."""
    if len(boxes) > _MOST_IRREGULAR and not is_lattice(shape, boxes):
        return f"its {len(boxes):,} slices do not lie side by side, or one of them is missing"
    wrong = fault(shape, boxes)
    if wrong is None:
        return None
    where = f"position {list(wrong.position)} of {list(shape)}"
    if not wrong.boxes:
        return f"no slice covers {where}"
    paths = dict.fromkeys(box.tensor.storage.extent.path for box in wrong.boxes)
    files = " and ".join(f"'{escape(path)}'" for path in list(paths)[:_SHOWN])
    more = f" and {plural(len(paths) - _SHOWN, 'other file')}" if len(paths) > _SHOWN else ""
    return f"{len(wrong.boxes):,} slices cover {where}, in {files}{more}"
