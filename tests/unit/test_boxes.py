"""Boxes in a grid: what covers it exactly once, and which of them follow one another."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from shardctl.boxes import Fault, contiguous_run, fault, is_lattice, slabs
from shardctl.model import DTYPES, Box, Extent, Storage, Tensor


def box(start: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """A box of bytes."""
    storage = Storage(Extent("f", 0, 1 << 20), "0")
    return Box(start, Tensor("", DTYPES["U8"], shape, storage))


@st.composite
def covers(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Box]]:
    """A grid, and boxes that cover it: it is cut again and again along any axis."""
    grid = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    boxes = [((0,) * len(grid), grid)]
    for axis in draw(st.lists(st.integers(0, len(grid) - 1), max_size=6)):
        at = draw(st.integers(0, len(boxes) - 1))
        start, shape = boxes.pop(at)
        where = draw(st.integers(0, shape[axis]))
        for begin, length in ((0, where), (where, shape[axis] - where)):
            boxes.append(
                (
                    (*start[:axis], start[axis] + begin, *start[axis + 1 :]),
                    (*shape[:axis], length, *shape[axis + 1 :]),
                )
            )
    return grid, [box(*each) for each in draw(st.permutations(boxes))]


def places(each: Box) -> set[tuple[int, ...]]:
    """The positions of the grid that a box covers."""
    ranges = (
        range(begin, begin + size)
        for begin, size in zip(each.start, each.tensor.shape, strict=True)
    )
    return set(itertools.product(*ranges))


@given(covers())
def test_a_cover_has_no_fault(made: tuple[tuple[int, ...], list[Box]]) -> None:
    """Whatever the cuts, boxes that cover the grid exactly once are right."""
    assert fault(*made) is None


@given(covers(), st.data())
def test_the_first_fault_is_named(
    made: tuple[tuple[int, ...], list[Box]], data: st.DataObject
) -> None:
    """Without one of the boxes its first position is a gap; with one twice it is an overlap."""
    grid, boxes = made
    odd = data.draw(st.sampled_from([each for each in boxes if each.tensor.elements]))
    first = min(places(odd))
    assert fault(grid, [each for each in boxes if each is not odd]) == Fault(first)
    twice = fault(grid, [*boxes, box(odd.start, odd.tensor.shape)])
    assert twice is not None
    assert (twice.position, len(twice.boxes)) == (first, 2)


def test_many_slices_take_linear_time() -> None:
    """Slices of ten thousand ranks are compared without comparing each with each."""
    ranks = 10_000
    slices = [box((rank, 0), (1, 7)) for rank in range(ranks)]
    assert fault((ranks, 7), slices) is None
    assert fault((ranks + 1, 7), slices) == Fault((ranks, 0))


def test_an_empty_grid_needs_no_boxes() -> None:
    """A tensor without elements is covered by nothing."""
    assert fault((0, 3), []) is None
    assert fault((), [box((), ())]) is None
    assert fault((), []) == Fault(())


@given(covers())
def test_runs_follow_one_another(made: tuple[tuple[int, ...], list[Box]]) -> None:
    """A box is a run just where its positions have no gap between them in row-major order."""
    grid, boxes = made
    order = {place: at for at, place in enumerate(itertools.product(*map(range, grid)))}
    for each in boxes:
        held = sorted(order[place] for place in places(each))
        if held:
            assert contiguous_run(grid, each) == (held == list(range(held[0], held[-1] + 1)))


@given(covers())
def test_slabs_cut_no_box(made: tuple[tuple[int, ...], list[Box]]) -> None:
    """Slabs follow one another, cover all rows, and each box that has elements is in one."""
    grid, boxes = made
    end = 0
    held: list[Box] = []
    for begin, rows, some in slabs(grid, boxes):
        assert begin == end
        end = begin + rows
        assert [each.start for each in some] == sorted(each.start for each in some)
        assert all(
            begin <= each.start[0] and each.start[0] + each.tensor.shape[0] <= end for each in some
        )
        held += some
    assert end == grid[0]
    assert len(held) == sum(bool(each.tensor.elements) for each in boxes)


def test_a_lattice_is_known_at_once() -> None:
    """Slices along whole planes cover the grid if every one is there, once, and none reaches on."""
    cells = [box((row, column), (2, 3)) for row in (0, 2) for column in (0, 3)]
    assert is_lattice((4, 6), cells)
    assert is_lattice((), [box((), ())])
    for boxes in (cells[1:], cells[:3], [*cells, cells[0]], [*cells[:3], cells[0]], []):
        assert not is_lattice((4, 6), boxes)
    assert not is_lattice((5, 6), cells)
    assert not is_lattice((4, 6), [box((0, 0), (4, 3)), *cells[1::2], cells[0]])
    assert not is_lattice((4, 3), [box((0, 0), (3, 3)), box((2, 0), (2, 3))])
