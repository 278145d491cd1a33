"""Layers as a tree, with what repeats folded into one line."""

from __future__ import annotations

import math
import re
import tracemalloc
from collections.abc import Iterable

from shardctl.model import DTYPES
from shardctl.view.tensors import TensorRow
from shardctl.view.tree import MOST_LEVELS, Node, chain, fold, tree, walk


def tensor(name: str, *shape: int, dtype: str = "F32") -> TensorRow:
    """A row of a tensor of that shape."""
    return TensorRow(name, dtype, shape, DTYPES[dtype].nbytes(math.prod(shape)))


def folded(rows: Iterable[TensorRow]) -> Node:
    """The tree of some rows, with equal layers joined."""
    return fold(tree(rows))


def labels(node: Node) -> list[str]:
    """The labels below a node."""
    return [each.label for each in node.children]


def child(node: Node, part: str) -> Node:
    """Return the child whose label begins with a part of a name, or with a range from it on."""
    (found,) = (each for each in node.children if re.split(r"[.–]", each.label)[0] == part)  # noqa: RUF001 - the dash of a range
    return found


def numbered(numbers: Iterable[int], *shape: int) -> list[TensorRow]:
    """One tensor `l.N.w` for each number."""
    return [tensor(f"l.{number}.w", *shape) for number in numbers]


def test_sums_count_everything_below() -> None:
    """Each layer has the bytes and tensors of all below it."""
    root = tree([tensor("a.w", 2, 3), tensor("a.b", 3), tensor("c", dtype="I64")])
    assert (root.nbytes, root.tensors) == (44, 3)
    assert (child(root, "a").nbytes, child(root, "a").tensors) == (36, 2)
    assert [node.label for node in walk(root)] == ["", "a", "w", "b", "c"]
    assert [node.is_tensor for node in walk(root)] == [False, False, True, True, True]
    assert tree([]).tensors == 0


def test_chains_end_at_a_fork_or_a_tensor() -> None:
    """Single layers in a row are one label; a tensor, a fork or a folded layer ends it."""
    root = tree([tensor("a.b.c.w", 1), tensor("a.b.c.v", 1), tensor("d.e.f", 1), tensor("d.e", 1)])
    assert [chain(node)[0] for node in root.children] == ["a.b.c", "d.e"]
    assert labels(chain(child(root, "a"))[1]) == ["w", "v"]
    assert chain(child(folded(numbered(range(3), 2)), "l"))[0] == "l.0–2"  # noqa: RUF001 - the dash of a range
    assert chain(child(tree([tensor("x.y", 1)]), "x"))[1].is_tensor


def test_the_main_dtype_has_most_bytes() -> None:
    """Bytes decide, not the number of tensors; a tensor counts beside what lies below its name."""
    few = [tensor("a.x", 3), tensor("a.y", 4, dtype="U8"), tensor("a.z", 4, dtype="U8")]
    assert tree(few).group == "F32"
    assert tree([*few, tensor("a", 5, dtype="U8")]).group == "U8"
    assert tree([tensor("a", 0, dtype="I8")]).group == "I8"
    assert tree([]).group is None


def test_repeated_blocks_are_one_line() -> None:
    """Blocks with equal insides and numbers in a row are folded, in the order of the numbers, with
    their sums.
    """
    layers = child(folded(numbered([*range(10, 32), *range(10)], 2, 2)), "l")
    assert labels(layers) == ["0–31"]  # noqa: RUF001 - a range is written with an en dash
    block = child(layers, "0")
    assert (block.repeats, block.nbytes, block.tensors) == (32, 32 * 16, 32)
    assert labels(block) == ["w"]
    assert child(block, "w").nbytes == 16


def test_a_block_that_differs_is_not_folded() -> None:
    """Another shape, another type, another name or a gap in the numbers ends a run."""
    tensors = [
        *numbered(range(3), 2),
        tensor("l.3.w", 3),
        *numbered([4, 5], 2),
        *numbered([7, 8], 2),
    ]
    assert labels(child(folded(tensors), "l")) == ["0–2", "3", "4–5", "7–8"]  # noqa: RUF001 - the dash of a range
    assert labels(child(folded([tensor("l.0", 2), tensor("l.1", 2, dtype="I32")]), "l")) == [
        "0",
        "1",
    ]
    names = [tensor("l.0.mlp.w", 2), tensor("l.1.mlp.v", 2), tensor("l.2.mlp.v", 2)]
    assert labels(child(folded(names), "l")) == ["0", "1–2"]  # noqa: RUF001 - the dash of a range


def test_folding_within_folding() -> None:
    """Experts in layers fold at both levels."""
    tensors = [tensor(f"l.{a}.e.{b}.w", 2) for a in range(3) for b in range(4)]
    block = child(child(folded(tensors), "l"), "0")
    assert (block.repeats, block.tensors) == (3, 12)
    assert labels(child(block, "e")) == ["0–3"]  # noqa: RUF001 - the dash of a range


def test_names_that_are_not_numbers_stay() -> None:
    """Only numbers fold; a signed one, or digits in a word, are a name."""
    assert labels(folded([tensor("a0", 1), tensor("a1", 1), tensor("-1", 1)])) == ["a0", "a1", "-1"]


def test_a_name_that_is_a_tensor_and_a_layer() -> None:
    """`a` and `a.b` can both be tensors; nothing of either is lost."""
    root = folded([tensor("a.b", 3), tensor("a", 2)])
    both = child(root, "a")
    assert (both.dtype, both.shape, both.is_tensor) == ("F32", (2,), False)
    assert (both.tensors, both.nbytes, labels(both)) == (2, 20, ["b"])


def test_numbers_spelled_differently_are_two_layers() -> None:
    """`1` and `01` are the same number, and both stay."""
    root = folded([tensor("1", 2), tensor("01", 2), tensor("2", 2)])
    assert sum(each.tensors for each in root.children) == root.tensors == 3


def test_a_name_that_reads_like_a_range_hides_nothing() -> None:
    """A layer whose name looks like a folded one is shown beside it."""
    root = folded([tensor("0–1", 2), tensor("0", 2), tensor("1", 2)])  # noqa: RUF001 - the dash of a range
    assert sum(each.tensors for each in root.children) == root.tensors == 3


def test_hostile_depth() -> None:
    """A name of a hundred thousand dots is a deep tree, and not a crash."""
    root = folded([tensor("." * 100_000, 1), tensor("0." * 50_000, 1)])
    assert root.tensors == 2
    assert root.nbytes == 8


def test_a_tree_is_as_deep_as_it_is_shown() -> None:
    """Below the levels that are asked for layers are summed up, and still told apart and folded."""
    names = [f"m.{a}.{b}.{c}.{d}.w" for a in range(2) for b in range(2) for c in "xy" for d in "pq"]
    root = folded_to([*(tensor(name, 2) for name in names), tensor("m.2.0.x.p.w", 2)], levels=1)
    assert root.tensors == 17
    layer = child(root, "m")
    assert [(each.label, each.repeats, each.tensors) for each in layer.children] == [
        ("0–1", 2, 16),  # noqa: RUF001 - the dash of a range
        ("2", 1, 1),
    ]
    assert len(list(walk(root))) < 17
    changed = [tensor(name, 3 if name == "m.1.1.y.q.w" else 2) for name in names]
    assert labels(child(folded_to(changed, levels=0), "m")) == ["0", "1"]


def folded_to(rows: Iterable[TensorRow], *, levels: int) -> Node:
    """The tree of some rows down to so many levels, with equal layers joined."""
    return fold(tree(rows, levels))


def test_layers_that_only_look_alike_are_told_apart() -> None:
    """A name that begins like another one is not a layer of it, and equal names count both."""
    root = tree([tensor("a.bc.x", 1), tensor("a.bd.x", 1), tensor("a.b", 1)])
    assert labels(root) == ["a"]
    assert labels(child(root, "a")) == ["bc.x", "bd.x", "b"]
    assert tree([tensor("a.b", 2), tensor("a.b", 3)]).nbytes == 20


def test_long_names_take_little_memory() -> None:
    """Names of a million dots, alone and with all but their ends in common, take some times their
    length.
    """
    for names in (
        ["." * 1_000_000],
        ["." * 1_000_000 + end for end in "abc"],
        ["0." * 500_000, "0"],
    ):
        rows = [tensor(name, 1) for name in names]
        tracemalloc.start()
        try:
            root = fold(tree(rows, 4))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert root.tensors == len(names)
        assert peak < 6 * sum(map(len, names))


def test_every_part_may_fork() -> None:
    """Fifteen hundred layers, each a tensor and in the one before it, are not deeper than the
    deepest that is shown.
    """
    root = folded([tensor(".".join("a" * parts), 1) for parts in range(1, 1500)])
    assert root.tensors == 1499
    assert len(list(walk(root))) == 2 * MOST_LEVELS + 3


def test_hostile_numbers() -> None:
    """A part of a name with thousands of digits is not a crash either."""
    root = folded([tensor("9" * 10_000, 1), tensor("1", 1)])
    assert root.tensors == sum(each.tensors for each in root.children) == 2


def test_a_tied_tensor_is_marked_and_counted_once() -> None:
    """A tied tensor names the one whose bytes it has, and adds none to the sums."""
    first = tensor("embed.w", 4, 4)
    second = TensorRow("head.w", "F32", (4, 4), 64, tied_to="embed.w")
    root = tree([first, second])
    assert (root.nbytes, root.tensors) == (64, 2)
    assert [each.tied_to for each in root.children] == [None, "embed.w"]
