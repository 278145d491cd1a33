"""The layers of a checkpoint: a tree of the dotted names, with sums, in which equal layers fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from shardctl.view.tensors import TensorRow

#: A number of more digits than this is a name: no model has so many layers.
_MOST_DIGITS = 9


@dataclass(slots=True)
class Node:
    """A layer; a tensor where `dtype` and `shape` are set, which can have layers below it too.

    `label` is its part of the name. `nbytes` and `tensors` count all below it, and itself.
    `repeats` is the number of equal layers that it shows; its children are those of the first.
    """

    label: str
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    nbytes: int = 0
    tensors: int = 0
    repeats: int = 1
    children: dict[str, Node] = field(default_factory=dict)
    signature: int = 0

    @property
    def is_tensor(self) -> bool:
        """Whether the node is one tensor, and nothing else."""
        return self.dtype is not None and not self.children and self.repeats == 1


def tree(rows: Iterable[TensorRow]) -> Node:
    """Return the root of the tree of the rows' names, which differ from each other."""
    root = Node("")
    for row in rows:
        node = root
        for part in row.name.split("."):
            below = node.children.get(part)
            if below is None:
                below = node.children[part] = Node(part)
            node = below
        node.dtype, node.shape, node.nbytes, node.tensors = row.dtype, row.shape, row.nbytes, 1
    for node in _bottom_up(root):
        for child in node.children.values():
            node.nbytes += child.nbytes
            node.tensors += child.tensors
    return root


def walk(root: Node) -> Iterator[Node]:
    """Yield a node and all below it, each before its children.

    There is no recursion here, since a hostile name can have any depth.
    """
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children.values()))


def _bottom_up(root: Node) -> Iterator[Node]:
    return reversed(list(walk(root)))


def chain(node: Node) -> tuple[str, Node]:
    """Return the end of a chain of single layers, and the chain's joined label."""
    labels = [node.label]
    while node.dtype is None and node.repeats == 1 and len(node.children) == 1:
        (node,) = node.children.values()
        labels.append(node.label)
    return ".".join(labels), node


def main_dtype(node: Node) -> str | None:
    """Return the dtype with most bytes in a node; None where it has no tensor."""
    sums: Counter[str] = Counter()
    for below in walk(node):
        if below.dtype is not None:
            inner = sum(child.nbytes for child in below.children.values())
            sums[below.dtype] += below.nbytes - inner
    return max(sums, key=sums.__getitem__, default=None)


def fold(root: Node) -> Node:
    """Join equal layers with consecutive numbers, in place: `0` to `31` become `0–31`.

    Layers are equal if the names, dtypes and shapes below them are. Returns `root`.
    """  # noqa: RUF002 - a range is written with an en dash
    for node in _bottom_up(root):
        inside = tuple((name, child.signature) for name, child in sorted(node.children.items()))
        node.signature = hash((node.dtype, node.shape, inside))
    for node in list(walk(root)):
        if len(node.children) > 1:
            node.children = dict(_folded(list(node.children.values())))
    return root


def _folded(children: Sequence[Node]) -> Iterator[tuple[str, Node]]:
    numbered = sorted((c for c in children if _is_number(c.label)), key=lambda c: int(c.label))
    for child in children:
        if not _is_number(child.label):
            yield child.label, child
    runs = groupby(enumerate(numbered), key=lambda at: (at[1].signature, int(at[1].label) - at[0]))
    for _, run in runs:
        equal = [child for _, child in run]
        # By the first one's own label, which no other has.
        yield equal[0].label, equal[0] if len(equal) == 1 else _joined(equal)


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
    )


def _is_number(label: str) -> bool:
    return label.isdecimal() and len(label) <= _MOST_DIGITS
