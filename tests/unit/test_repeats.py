"""Views that repeat few bytes are compared without reading more than those."""

from __future__ import annotations

import itertools

import pytest

from shardctl.model import DTYPES, Cast, Extent, Storage, Tensor, made_tensor
from shardctl.repeats import MOST_GROWTH, compared_parts

U8 = DTYPES["U8"]


def view(
    shape: tuple[int, ...], strides: tuple[int, ...] | None, *, nbytes: int = 64, path: str = "f"
) -> Tensor:
    """A view of a storage of bytes."""
    return Tensor("w", U8, shape, Storage(Extent(path, 0, nbytes), "0"), 0, strides)


def places(tensor: Tensor) -> set[int]:
    """The elements of the storage that a view has."""
    strides = tensor.strides
    if strides is None:
        return set(range(tensor.offset, tensor.offset + tensor.elements))
    indexes = itertools.product(*map(range, tensor.shape))
    return {
        tensor.offset + sum(at * step for at, step in zip(index, strides, strict=True))
        for index in indexes
    }


def test_other_views_are_compared_as_they_are() -> None:
    """Contiguous tensors, and pairs of which only one repeats, are read whole."""
    plain, strided, repeated = view((4, 2), None), view((4, 2), (1, 4)), view((4, 2), (0, 1))
    for pair in ((plain, plain), (plain, strided), (strided, strided), (plain, repeated)):
        assert compared_parts(*pair) == pair
    mine, its = compared_parts(strided, repeated)
    assert (mine, its) == (strided, repeated)


def test_a_dimension_that_both_repeat_is_compared_once() -> None:
    """Its length is one then; one of length zero stays empty."""
    big = 1 << 40
    mine, its = compared_parts(view((big, 3), (0, 1)), view((big, 3), (0, 2), path="g"))
    assert (mine.shape, its.shape) == ((1, 3), (1, 3))
    mine, its = compared_parts(view((0, 3), (0, 1)), view((0, 3), (0, 1), path="g"))
    assert (mine.shape, its.shape) == ((0, 3), (0, 3))


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((40, 40), (1, 1)),
        ((20, 20, 20), (1, 1, 1)),
        ((60, 30), (1, 2)),
        ((30, 30), (2, 2)),
        ((10, 50, 40), (8, 1, 0)),
        ((9, 9, 9, 9), (2, 3, 1, 1)),
    ],
)
def test_elements_that_overlap_are_compared_once(
    shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """All elements of the view are among those that are compared, which are not many more bytes
    than there are.
    """
    one, other = view(shape, strides, nbytes=4_096), view(shape, strides, nbytes=4_096, path="g")
    mine, its = compared_parts(one, other)
    assert places(one) <= places(mine)
    assert (mine.shape, mine.strides) == (its.shape, its.strides)
    assert mine.nbytes <= MOST_GROWTH * max(one.span.length, 1)
    assert (mine.storage, its.storage) == (one.storage, other.storage)


def test_steps_that_do_not_divide_each_other() -> None:
    """What lies at multiples of their divisor is compared, up to the last element."""
    one, other = (view((200, 200), (4, 6), nbytes=2_000, path=path) for path in "fg")
    mine, _ = compared_parts(one, other)
    last = 199 * 4 + 199 * 6
    assert places(one) <= places(mine)
    assert places(mine) <= set(range(0, last + 1, 2))


@pytest.mark.parametrize(("size", "whole"), [(31, True), (32, False)])
def test_a_few_repeats_are_read(size: int, *, whole: bool) -> None:
    """Up to sixteen times the bytes are compared as they are: 961 of 61, and not 1,024 of 63."""
    assert MOST_GROWTH == 16
    one, other = (view((size, size), (1, 1), path=path) for path in "fg")
    mine, _ = compared_parts(one, other)
    assert (mine.shape == (size, size)) is whole
    assert whole or mine.elements == 2 * size - 1


def test_of_a_converted_tensor_as_much_is_converted() -> None:
    """The twin that is compared is converted from what is left of its source."""
    source = view((1 << 30, 3), (0, 1), path="g")
    f32 = DTYPES["F32"]
    twin = made_tensor("w", f32, source.shape, Cast(source), "k")
    one = Tensor("w", f32, source.shape, Storage(Extent("f", 0, 12), "0"), 0, (0, 1))
    mine, its = compared_parts(one, twin)
    assert mine.shape == its.shape == (1, 3)
    made = its.storage.made
    assert isinstance(made, Cast)
    assert made.tensor.shape == (1, 3)
    assert its.dtype is f32
