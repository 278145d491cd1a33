"""Tensors as views of a storage are checked as torch checks them."""

from __future__ import annotations

import pytest

from shardctl.formats.limits import MAX_DIMS, MAX_SIZE
from shardctl.formats.pickle.machine import Machine
from shardctl.formats.pickle.values import PickleFaultError, Sequence, StorageRef, ViewRef
from shardctl.formats.torch.calls.views import are_sizes, is_size, numbers_of, reach, view_of
from shardctl.formats.torch.unpickle import ZIP
from shardctl.model import DTYPES

F32, F4 = DTYPES["F32"], DTYPES["F4"]
STORAGE = StorageRef("0", F32, 48, "FloatStorage")


def machine() -> Machine:
    """A machine of no bytes."""
    return Machine(b"", 0, ZIP, 1_000)


def view(
    offset: object, shape: object, strides: object, dtype: object = None, storage: object = STORAGE
) -> ViewRef:
    """A view of the storage."""
    return view_of(machine(), storage, offset, shape, strides, dtype)


@pytest.mark.parametrize(
    ("shape", "strides", "kept"),
    [
        ((3, 4), (4, 1), None),
        ((4, 3), (1, 4), (1, 4)),
        ((1, 4), (99, 1), None),
        ((4, 1), (1, 99), None),
        ((0, 4), (7, 7), None),
        ((), (), None),
        ((3,), (0,), (0,)),
        ((2,), (2,), (2,)),
    ],
)
def test_strides_are_kept_where_they_matter(
    shape: tuple[int, ...], strides: tuple[int, ...], kept: tuple[int, ...] | None
) -> None:
    """Strides of contiguous tensors, of empty ones and of lengths of 1 say nothing."""
    found = view(1, shape, strides)
    assert (found.offset, found.shape, found.strides, found.dtype) == (1, shape, kept, F32)


@pytest.mark.parametrize(
    "wrong",
    [
        (-1, (4,), (1,)), (True, (4,), (1,)), (1.0, (4,), (1,)), (MAX_SIZE + 1, (4,), (1,)),
        (0, [4], (1,)), (0, (-4,), (1,)), (0, (4,), (-1,)), (0, (4,), ()), (0, (True,), (1,)),
        (0, (1,) * (MAX_DIMS + 1), (1,) * (MAX_DIMS + 1)),
    ],
)  # fmt: skip
def test_malformed_sizes_are_refused(wrong: tuple[object, object, object]) -> None:
    """Sizes are whole numbers that are not negative, one stride for each dimension."""
    with pytest.raises(PickleFaultError, match="offset, shape or strides are malformed"):
        view(*wrong)


def test_more_elements_than_can_be_counted_are_refused() -> None:
    """The largest product is read, one more is refused; a 0 does not hide the others."""
    assert view(0, (MAX_SIZE,), (1,)).shape == (MAX_SIZE,)
    for shape in ((1 << 32, 1 << 32), (0, 1 << 32, 1 << 32)):
        with pytest.raises(PickleFaultError, match="more elements than can be counted"):
            view(0, shape, (1,) * len(shape))


def test_a_view_has_a_storage_and_a_type() -> None:
    """Something else in place of the storage, or no type, is refused."""
    with pytest.raises(PickleFaultError, match="not a storage"):
        view(0, (4,), (1,), storage="0")
    with pytest.raises(PickleFaultError, match="without a type"):
        view(0, (4,), (1,), storage=StorageRef("0", None, 4, "UntypedStorage"))
    with pytest.raises(PickleFaultError, match="without a type"):
        view(0, (4,), (1,), dtype="F32")


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "noted"),
    [
        (0, (12,), (1,), 0),
        (1, (12,), (1,), 1),
        (0, (13,), (1,), 1),
        (0, (2,), (11,), 0),
        (0, (2,), (12,), 1),
    ],
)
def test_reaching_beyond_the_storage_is_noted(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], noted: int
) -> None:
    """A view may end with its storage; one element more is what torch refuses."""
    looking = machine()
    view_of(looking, STORAGE, offset, shape, strides)
    assert len(looking._refused) == noted


def test_pairs_of_four_bits() -> None:
    """Torch counts F4 in pairs: offset and last length are doubled, other views are refused."""
    found = view(1, (2, 3), (3, 1), dtype=F4)
    assert (found.offset, found.shape, found.strides) == (2, (2, 6), None)
    for shape, strides in (((3, 2), (1, 3)), ((), ())):
        with pytest.raises(PickleFaultError, match="not whole bytes"):
            view(0, shape, strides, dtype=F4)


def test_whole_bytes_are_viewed_in_any_way() -> None:
    """From 8 bits on, views may be strided, or have no dimension."""
    assert view(1, (3, 2), (1, 3), dtype=DTYPES["U8"]).strides == (1, 3)
    assert view(1, (), (), dtype=DTYPES["F8_E8M0"]).shape == ()


def test_forms_are_remembered_up_to_a_bound() -> None:
    """A pickle of a million shapes does not fill the memory, and a form that is known is shared."""
    looking = machine()
    for size in range(1, 1_100):
        view_of(looking, STORAGE, 0, (size,), (1,))
    assert len(looking.forms) == 1_000
    one, two = (view_of(looking, STORAGE, 0, (size,), (1,)) for size in (3, 3))
    assert one.shape is two.shape


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [((), None, 1), ((2, 3), None, 6), ((2, 0), (5, 5), 0), ((2, 3), (10, 2), 15), ((3,), (0,), 1)],
)
def test_the_reach_of_a_view(
    shape: tuple[int, ...], strides: tuple[int, ...] | None, expected: int
) -> None:
    """It counts from the first element to the last, both included."""
    assert reach(shape, strides) == expected


def test_sizes() -> None:
    """A size is not a boolean, and at most the largest number of elements."""
    assert is_size(0)
    assert is_size(MAX_SIZE)
    assert not any(map(is_size, (-1, MAX_SIZE + 1, True, 1.0, "1", None)))
    assert are_sizes(())
    assert are_sizes((0, MAX_SIZE))
    assert not any(map(are_sizes, ([1], (1, -1), (MAX_SIZE + 1,), (False,))))
    assert are_sizes((1,) * MAX_DIMS)


def test_numbers_of_a_list_or_tuple() -> None:
    """Sizes in a list or tuple are returned, and nothing for anything else."""
    assert numbers_of((1, 2)) == numbers_of(Sequence("list", [1, 2])) == (1, 2)
    assert numbers_of(()) == ()
    for other in ((1, -1), (True,), 1, None, "12", (1,) * (MAX_DIMS + 1)):
        assert numbers_of(other) is None
