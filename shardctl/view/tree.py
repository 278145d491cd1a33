"""The layers of a checkpoint: a tree of the dotted names, with sums, in which equal layers fold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from shardctl.chains import is_number
from shardctl.view.tensors import TensorRow

#: Levels of a tree at most, whatever is asked for.
MOST_LEVELS = 64
#: Characters of two names that are compared at once.
_COMPARED = 4096


@dataclass(slots=True)
class Node:
    """A layer; a tensor where `dtype` and `shape` are set, which can have layers below it too.

    `label` is its part of the name. `nbytes` and `tensors` count all below it, and itself; the
    bytes of a tensor that is `tied_to` another are counted there. `repeats` is the number of equal
    layers that it shows; its children are those of the first, and no two of them have labels that
    begin with the same part. `parameters` counts elements as `nbytes` does bytes. `group` is the
    one with most bytes of those that `tree` puts the tensors in, None where it has no tensor.
    `signature` is equal for layers with the same inside.
    """

    label: str
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    tied_to: str | None = None
    nbytes: int = 0
    tensors: int = 0
    parameters: int = 0
    repeats: int = 1
    children: tuple[Node, ...] = ()
    group: str | None = None
    signature: int = 0

    @property
    def is_tensor(self) -> bool:
        """Whether the node is one tensor, and nothing else."""
        return self.dtype is not None and self.tensors == 1


#: Puts a tensor into a group of tensors.
Group = Callable[[TensorRow], str]


def dtype_of(row: TensorRow) -> str:
    """Put tensors of one dtype into a group."""
    return row.dtype


def tree(rows: Iterable[TensorRow], levels: int = MOST_LEVELS, group: Group = dtype_of) -> Node:
    """Return the root of the tree of the rows' names.

    It has at least `levels` levels that fork below it. What lies deeper is summed up: a name can
    have millions of parts.
    """
    held = list(rows)
    root = _node("", held, -1, 0, group)
    # A layer with a number may be followed by a chain, which is shown in the same line.
    root.children = _children(held, 0, 2 * levels + 1, group)
    return root


def _children(rows: Sequence[TensorRow], begin: int, levels: int, group: Group) -> tuple[Node, ...]:
    """The layers of rows whose names are equal up to `begin`, by their first part from there.

    A layer's label goes on to where it forks. One with a number does not, since equal ones beside
    it are folded.
    """
    groups: dict[str, list[TensorRow]] = {}
    for row in rows:
        end = row.name.find(".", begin)
        groups.setdefault(row.name[begin:] if end < 0 else row.name[begin:end], []).append(row)
    made: list[Node] = []
    alone = len(groups) == 1
    for part in list(groups):
        inside = groups.pop(part)  # so that there is never a list and a node for every tensor
        end = fork = begin + len(part)
        if alone or not is_number(part):
            fork = _fork(inside, end)
        label = part if fork == end else inside[0].name[begin:fork]
        made.append(_node(label, inside, fork, levels, group))
    return tuple(made)


def _node(label: str, rows: Sequence[TensorRow], end: int, levels: int, group: Group) -> Node:
    """The layer of rows whose names are equal up to `end`."""
    sums: dict[str, int] = {}
    node, below = Node(label, tensors=len(rows)), list[TensorRow]()
    for row in rows:
        own = row.nbytes if row.tied_to is None else 0
        part = group(row)
        sums[part] = sums.get(part, 0) + own
        if row.tied_to is None:
            node.parameters += math.prod(row.shape)
        if len(row.name) == end:
            node.dtype, node.shape, node.tied_to = row.dtype, row.shape, row.tied_to
        else:
            below.append(row)
    node.nbytes = sum(sums.values())
    node.group = max(sums, key=sums.__getitem__, default=None)
    if below and levels > 0:
        node.children = _children(below, end + 1, levels - 1, group)
    elif below:
        node.signature = hash(
            tuple(
                sorted(
                    (row.name[end + 1 :], row.dtype, row.shape, row.tied_to or "") for row in below
                )
            )
        )
    return node


def _fork(rows: Sequence[TensorRow], end: int) -> int:
    """Where names that are equal up to `end`, the end of a part, stop having equal parts."""
    if len(rows) == 1:
        return len(rows[0].name)
    first, last = min(row.name for row in rows), max(row.name for row in rows)
    while end < len(first) and first[end : end + _COMPARED] == last[end : end + _COMPARED]:
        end += _COMPARED
    # Past its end if one name is the other's beginning.
    end = min(end, len(first))
    while first[end : end + 1] == last[end : end + 1] != "":
        end += 1
    if any(row.name[end : end + 1] not in ("", ".") for row in rows):
        end = first.rindex(".", 0, end)
    return end


def walk(root: Node) -> Iterator[Node]:
    """Yield a node and all below it, each before its children."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def _bottom_up(root: Node) -> Iterator[Node]:
    return reversed(list(walk(root)))


def chain(node: Node) -> tuple[str, Node]:
    """Return the end of a chain of single layers, and the chain's joined label."""
    labels = [node.label]
    while node.dtype is None and node.repeats == 1 and len(node.children) == 1:
        (node,) = node.children
        labels.append(node.label)
    return ".".join(labels), node


def fold(root: Node) -> Node:
    """Join equal layers with consecutive numbers, in place: `0` to `31` become `0–31`.

    Layers are equal if the names, dtypes and shapes below them are. Returns `root`.
    """  # noqa: RUF002 - a range is written with an en dash
    for node in _bottom_up(root):
        inside = tuple(sorted((child.label, child.signature) for child in node.children))
        node.signature = hash((node.dtype, node.shape, node.tied_to, node.signature, inside))
    for node in list(walk(root)):
        if len(node.children) > 1:
            node.children = tuple(_folded(node.children))
    return root


def _folded(children: Sequence[Node]) -> Iterator[Node]:
    numbered = sorted(
        (child for child in children if is_number(child.label)), key=lambda child: int(child.label)
    )
    yield from (child for child in children if not is_number(child.label))
    runs = groupby(enumerate(numbered), key=lambda at: (at[1].signature, int(at[1].label) - at[0]))
    for _, run in runs:
        equal = [child for _, child in run]
        yield equal[0] if len(equal) == 1 else _joined(equal)


def _joined(equal: Sequence[Node]) -> Node:
    first = equal[0]
    return Node(
        label=f"{first.label}–{equal[-1].label}",  # noqa: RUF001 - a range is written with an en dash
        dtype=first.dtype,
        shape=first.shape,
        nbytes=sum(node.nbytes for node in equal),
        tensors=sum(node.tensors for node in equal),
        repeats=len(equal),
        children=first.children,
        parameters=sum(node.parameters for node in equal),
        group=first.group,
    )
