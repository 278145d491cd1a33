"""Layers as a tree, with what repeats folded into one line."""

from __future__ import annotations

from collections.abc import Iterable

from shardctl.cli.terminal.layers import Node, tree
from shardctl.model import DTYPES, Extent, Storage, Tensor


def tensor(name: str, *shape: int, dtype: str = "F32") -> Tensor:
    """A tensor that is only looked at."""
    return Tensor(name, DTYPES[dtype], shape, Storage(Extent("f", 0, 1 << 20), name))


def labels(node: Node) -> list[str]:
    """The labels below a node."""
    return [child.label for child in node.children.values()]


def numbered(numbers: Iterable[int], *shape: int) -> list[Tensor]:
    """One tensor `l.N.w` for each number."""
    return [tensor(f"l.{number}.w", *shape) for number in numbers]


def test_sizes_add_up() -> None:
    """Each layer has the bytes, elements and tensors of all below it."""
    root = tree([tensor("a.w", 2, 3), tensor("a.b", 3), tensor("c", dtype="I64")])
    assert (root.nbytes, root.elements, root.tensors) == (44, 10, 3)
    assert (root.children["a"].nbytes, root.children["a"].elements, root.children["a"].tensors) == (
        36,
        9,
        2,
    )
    assert root.children["c"].tensor is not None
    assert tree([]).tensors == 0


def test_repeated_blocks_are_one_line() -> None:
    """Blocks with equal insides and numbers in a row are folded, in the order of the numbers, with
    their sums.
    """
    layers = tree(numbered([*range(10, 32), *range(10)], 2, 2)).children["l"]
    assert labels(layers) == ["0–31"]  # noqa: RUF001 - a range is written with an en dash
    block = layers.children["0"]
    assert (block.repeats, block.nbytes, block.elements, block.tensors) == (32, 32 * 16, 32 * 4, 32)
    assert labels(block) == ["w"]
    assert block.children["w"].nbytes == 16


def test_a_block_that_differs_stands_alone() -> None:
    """Another shape, another type or a gap in the numbers ends a run."""
    tensors = [
        *numbered(range(3), 2),
        tensor("l.3.w", 3),
        *numbered([4, 5], 2),
        *numbered([7, 8], 2),
    ]
    assert labels(tree(tensors).children["l"]) == ["0–2", "3", "4–5", "7–8"]  # noqa: RUF001 - the dash of a range
    assert labels(tree([tensor("l.0", 2), tensor("l.1", 2, dtype="I32")]).children["l"]) == [
        "0",
        "1",
    ]


def test_folding_within_folding() -> None:
    """Experts in layers fold at both levels."""
    tensors = [tensor(f"l.{a}.e.{b}.w", 2) for a in range(3) for b in range(4)]
    block = tree(tensors).children["l"].children["0"]
    assert (block.repeats, block.tensors) == (3, 12)
    assert labels(block.children["e"]) == ["0–3"]  # noqa: RUF001 - the dash of a range


def test_names_that_are_no_numbers_stay() -> None:
    """Only numbers fold; a signed one, or another script's digits in words, is a name."""
    assert labels(tree([tensor("a0", 1), tensor("a1", 1), tensor("-1", 1)])) == ["a0", "a1", "-1"]


def test_a_name_that_is_a_tensor_and_a_layer() -> None:
    """`a` and `a.b` can both be tensors; nothing of either is lost."""
    root = tree([tensor("a.b", 3), tensor("a", 2)])
    both = root.children["a"]
    assert both.tensor is not None
    assert (both.tensors, both.elements, labels(both)) == (2, 5, ["b"])


def test_equal_numbers_in_other_spelling_lose_nothing() -> None:
    """`1` and `01` are two layers."""
    root = tree([tensor("1", 2), tensor("01", 2), tensor("2", 2)])
    assert sum(child.tensors for child in root.children.values()) == root.tensors == 3


def test_a_name_that_reads_like_a_range_hides_nothing() -> None:
    """A layer that is called as folded ones are shown stands beside them."""
    root = tree([tensor("0–1", 2), tensor("0", 2), tensor("1", 2)])  # noqa: RUF001 - the dash of a range
    assert sum(child.tensors for child in root.children.values()) == root.tensors == 3


def test_hostile_depth() -> None:
    """A name of a hundred thousand dots is a deep tree, and no crash."""
    root = tree([tensor("." * 100_000, 1), tensor("0." * 50_000, 1)])
    assert root.tensors == 2
    assert root.elements == 2


def test_hostile_numbers() -> None:
    """A part of a name with thousands of digits is no crash either."""
    root = tree([tensor("9" * 10_000, 1), tensor("1", 1)])
    assert root.tensors == sum(child.tensors for child in root.children.values()) == 2
