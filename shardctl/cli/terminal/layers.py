"""The layers of a checkpoint as a tree, with repeated blocks folded: one line stands for `layers.0` to `layers.31`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from shardctl.model import Tensor

_MOST_DIGITS = 9


@dataclass(slots=True)
class Node:
    """A layer, or a tensor where `tensor` is set. `label` is its part of the name; sizes are those of all below."""

    label: str
    tensor: Tensor | None = None
    children: dict[str, Node] = field(default_factory=dict)
    nbytes: int = 0
    elements: int = 0
    tensors: int = 0
    signature: int = 0
    repeats: int = 1


def tree(tensors: Iterable[Tensor]) -> Node:
    """The tree of the dotted names, folded. Sizes count every name, tied ones too."""
    root = Node("")
    for tensor in tensors:
        _insert(root, tensor)
    _sum_up(root)
    _fold(root)
    return root


def _insert(root: Node, tensor: Tensor) -> None:
    node = root
    for part in tensor.name.split("."):
        node = node.children.setdefault(part, Node(part))
    node.tensor = tensor


def _sum_up(root: Node) -> None:
    """Sizes and signatures from the leaves up; without recursion, since a hostile name can have any depth."""
    for node in reversed(list(_walk(root))):
        own = node.tensor
        if own is not None:
            node.nbytes, node.elements, node.tensors = own.nbytes, own.elements, 1
        for child in node.children.values():
            node.nbytes += child.nbytes
            node.elements += child.elements
            node.tensors += child.tensors
        kind = None if own is None else (own.dtype.name, own.shape)
        node.signature = hash(
            (kind, tuple((name, child.signature) for name, child in sorted(node.children.items())))
        )


def _walk(root: Node) -> Iterator[Node]:
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.children.values())


def _fold(root: Node) -> None:
    for node in list(_walk(root)):
        node.children = dict(_folded(list(node.children.values())))


def _folded(children: Sequence[Node]) -> Iterator[tuple[str, Node]]:
    numbered = sorted((c for c in children if _is_number(c.label)), key=lambda c: int(c.label))
    others = [c for c in children if not _is_number(c.label)]
    for child in others:
        yield child.label, child
    runs = groupby(enumerate(numbered), key=lambda at: (at[1].signature, int(at[1].label) - at[0]))
    for _, run in runs:
        same = [child for _, child in run]
        first = same[0]
        if len(same) > 1:
            first = Node(
                label=f"{first.label}–{same[-1].label}",  # noqa: RUF001 - a range is written with an en dash
                tensor=first.tensor,
                children=first.children,
                nbytes=sum(child.nbytes for child in same),
                elements=sum(child.elements for child in same),
                tensors=sum(child.tensors for child in same),
                repeats=len(same),
            )
        # By the first one's own label, which no other has.
        yield same[0].label, first


def _is_number(label: str) -> bool:
    """Whether a label counts layers; one of more digits than any model has layers is a name."""
    return label.isdecimal() and len(label) <= _MOST_DIGITS
