"""Tensors that are kept as columns, and what is asked of any."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence

import pytest

from shardctl.columns import (
    Columns,
    Form,
    OneLevel,
    Tensors,
    forms_of,
    joined,
    names_of,
    rows_of,
    sizes_of,
    spans_of,
)
from shardctl.model import DTYPES, Extent, Storage, Tensor

_HALF = Form(DTYPES["F16"], (2, 3), 12)
_WHOLE = Form(DTYPES["F32"], (4,), 16)


def known(form: Form) -> tuple[str, tuple[int, ...], int]:
    """What a form says; two forms are never equal."""
    return form.dtype.name, form.shape, form.nbytes


def _tensor(path: str, name: str, form: Form, offset: int) -> Tensor:
    storage = Storage(Extent(path, offset, form.nbytes), name)
    return Tensor(name, form.dtype, form.shape, storage)


#: Five tensors in two files, one after another.
PLAIN = (
    _tensor("a", "a.0", _HALF, 100),
    _tensor("a", "a.1", _WHOLE, 112),
    _tensor("a", "a.2", _HALF, 128),
    _tensor("b", "b.0", _WHOLE, 8),
    _tensor("b", "b.1", _WHOLE, 24),
)


def columns() -> Tensors:
    """The same tensors as columns, with a file between them that has none."""
    return Tensors(
        [
            Columns("a", ["a.0", "a.1", "a.2"], [_HALF, _WHOLE, _HALF], [100, 112, 128]),
            Columns("none", [], [], []),
            Columns("b", ["b.0", "b.1"], [_WHOLE, _WHOLE], [8, 24]),
        ]
    )


def test_columns_are_a_sequence_of_tensors() -> None:
    """They have the tensors by number and by slice, and equal a tuple of them."""
    tensors = columns()
    assert len(tensors) == len(PLAIN)
    assert tuple(tensors) == PLAIN
    assert tensors == PLAIN
    assert tensors == columns()
    assert tensors != PLAIN[1:]
    assert tensors != 5
    assert hash(tensors) == hash(PLAIN)
    assert repr(tensors) == repr(PLAIN)
    assert [tensors[number] for number in range(-5, 5)] == [*PLAIN, *PLAIN]
    assert tensors[1:4] == PLAIN[1:4]
    assert tensors[::-2] == PLAIN[::-2]
    assert PLAIN[3] in tensors
    with pytest.raises(IndexError):
        tensors[5]


def test_no_tensor_is_kept() -> None:
    """Each look makes another, so that many take memory one at a time."""
    tensors = columns()
    assert tensors[1] is not tensors[1]
    assert tensors[1] == tensors[1] == tensors.taken([range(1, 3)])[0]


@pytest.mark.parametrize(
    "stretches",
    [
        [range(5)],
        [range(1, 4)],
        [range(3)],
        [range(3, 5)],
        [range(4, 5), range(1, 2)],
        [range(2, 2)],
        [],
    ],
)
def test_tensors_are_taken_by_their_numbers(stretches: Sequence[range]) -> None:
    """The stretches follow one another as they are given."""
    taken = columns().taken(stretches)
    assert taken == tuple(PLAIN[number] for numbers in stretches for number in numbers)


def test_whole_columns_are_taken_as_they_are() -> None:
    """What is taken of a file as a whole is not copied."""
    tensors = columns()
    assert tensors.taken([range(3, 5)]).parts[0] is tensors.parts[2]


@pytest.mark.parametrize("tensors", [PLAIN, columns()], ids=["objects", "columns"])
def test_what_is_asked_of_any(tensors: Sequence[Tensor]) -> None:
    """Columns and objects answer alike."""
    assert names_of(tensors) == ["a.0", "a.1", "a.2", "b.0", "b.1"]
    assert [known(form) for form in forms_of(tensors)] == [
        known(form) for form in (_HALF, _WHOLE, _HALF, _WHOLE, _WHOLE)
    ]
    assert sizes_of(tensors) == [12, 16, 12, 16, 16]
    assert list(spans_of(tensors)) == [(100, 12), (112, 16), (128, 12), (8, 16), (24, 16)]
    rows = [(name, known(form), path, begin) for name, form, path, begin in rows_of(tensors)]
    assert rows == [
        ("a.0", known(_HALF), "a", 100),
        ("a.1", known(_WHOLE), "a", 112),
        ("a.2", known(_HALF), "a", 128),
        ("b.0", known(_WHOLE), "b", 8),
        ("b.1", known(_WHOLE), "b", 24),
    ]


def test_a_view_is_where_its_elements_are() -> None:
    """A row of a view has its first element's place, and a span reaches to the last."""
    storage = Storage(Extent("a", 100, 64), "s")
    view = Tensor("v", DTYPES["F32"], (2, 2), storage, 1, (4, 1))
    ((name, form, path, begin),) = rows_of([view])
    assert (name, path, begin) == ("v", "a", 104)
    assert known(form) == ("F32", (2, 2), 16)
    assert list(spans_of([view])) == [(104, 24)]
    assert sizes_of([view]) == [16]


def test_columns_of_tensors() -> None:
    """Tensors of one file become columns; their forms are one object where they are alike."""
    made = Tensors([Columns.of("a", iter(PLAIN[:3]))])
    assert made == PLAIN[:3]
    assert list(made.parts[0].offsets) == [100, 112, 128]
    assert [known(form) for form in made.parts[0].forms] == [
        known(form) for form in (_HALF, _WHOLE, _HALF)
    ]
    assert made.parts[0].forms[0] is made.parts[0].forms[2]


@pytest.mark.parametrize(
    ("some", "kind"),
    [
        ([columns(), columns()], Tensors),
        ([columns(), PLAIN], tuple),
        ([PLAIN], tuple),
        ([], tuple),
    ],
)
def test_joined_columns_stay_columns(some: Iterable[Sequence[Tensor]], kind: type) -> None:
    """Where all are columns, no object is made; the tensors are those of all, in order."""
    together = joined(iter(some))
    assert type(together) is kind
    assert together == tuple(tensor for tensors in some for tensor in tensors)


def test_what_a_file_holds_on_one_level() -> None:
    """It is a mapping by name, equal to a dictionary of the same tensors."""
    held = OneLevel(columns())
    expected = {tensor.name: tensor for tensor in PLAIN}
    assert held == expected
    assert list(held) == list(expected)
    assert len(held) == len(expected)
    assert held["b.0"] == PLAIN[3]
    assert held.get("c") is None
    assert repr(held) == repr(expected)


def test_columns_can_be_pickled() -> None:
    """Without the objects that were made of them."""
    tensors = columns()
    size = len(pickle.dumps(tensors))
    assert tuple(tensors) == PLAIN
    assert len(pickle.dumps(tensors)) == size
    assert pickle.loads(pickle.dumps(tensors)) == PLAIN
