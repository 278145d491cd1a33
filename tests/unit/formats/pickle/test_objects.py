"""What calling something would give is only named, with all that it is made of."""

from __future__ import annotations

import pytest

from shardctl.formats.pickle.objects import constructed, dicts_in, fields_of, kind_of, takes_items
from shardctl.formats.pickle.values import (
    EmptyTensor,
    Global,
    Mapping,
    Opaque,
    Sequence,
    StorageRef,
    UnknownTensor,
    ViewRef,
)
from shardctl.model import DTYPES

STORAGE = StorageRef("0", DTYPES["F32"], 16, "FloatStorage")
VIEW = ViewRef(STORAGE, DTYPES["F32"], 0, (4,), None)


@pytest.mark.parametrize("function", [None, 1, "os.system", Mapping(), Sequence("list"), VIEW, ()])
def test_values_cannot_be_called(function: object) -> None:
    """Only a name, or what a name gave, can be called."""
    assert constructed(function, ()) is None


def test_an_object_has_the_name_and_the_arguments() -> None:
    """The object is called by its function, and keeps the arguments that tensors may be among."""
    made = constructed(Global("os.system"), ("x",))
    assert made is not None
    assert (made.kind, made.parts, made.shares_tensor) == ("os.system", [("x",)], False)
    bare = constructed(Global("m.C"), ())
    assert bare is not None
    assert bare.parts == []


@pytest.mark.parametrize(
    ("maker", "first", "kind"),
    [
        ("copyreg._reconstructor", Global("m.C"), "m.C"),
        ("copy_reg._reconstructor", Global("m.C"), "m.C"),
        ("copyreg.__newobj__", Global("m.C"), "m.C"),
        ("copyreg.__newobj_ex__", Global("m.C"), "m.C"),
        ("torch._utils._rebuild_wrapper_subclass", Global("m.C"), "m.C"),
        ("copyreg._reconstructor", "m.C", "copyreg._reconstructor"),
        ("m.f", Global("m.C"), "m.f"),
    ],
)
def test_makers_of_objects_are_looked_through(maker: str, first: object, kind: str) -> None:
    """A function that makes an object of a class gives an object of that class."""
    made = constructed(Global(maker), (first, 1))
    assert made is not None
    assert made.kind == kind


def test_what_a_call_gave_is_a_part_of_what_it_gives() -> None:
    """A call of an object keeps the object, with the tensors that it may hold."""
    function = Opaque("functools.partial", [(VIEW,)], shares_tensor=True)
    made = constructed(function, (1,))
    assert made is not None
    assert (made.kind, made.parts) == ("functools.partial", [(1,), function])
    assert made.shares_tensor


@pytest.mark.parametrize(
    ("argument", "shares"),
    [
        (VIEW, True),
        (STORAGE, True),
        (UnknownTensor("x"), True),
        (EmptyTensor("torch.Tensor", DTYPES["F32"]), True),
        (((VIEW,),), True),
        ((((VIEW,),),), False),
        ((None,) * 15 + (VIEW,), True),
        ((None,) * 16 + (VIEW,), False),
        (Opaque("m.C", [], shares_tensor=True), True),
        (Opaque("m.C"), False),
        ("text", False),
    ],
)
def test_an_object_may_be_a_tensor_among_its_arguments(argument: object, *, shares: bool) -> None:
    """Tensors and storages are looked for three tuples deep, among sixteen values."""
    made = constructed(Global("m.f"), (argument,))
    assert made is not None
    assert made.shares_tensor is shares
    assert takes_items(made) is not shares


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Opaque("m.C"), "m.C"),
        (Mapping("collections.OrderedDict"), "collections.OrderedDict"),
        (Global("m.f"), "m.f"),
        (Sequence("frozenset"), "builtins.frozenset"),
        (STORAGE, "torch.storage.TypedStorage"),
        (VIEW, "torch.Tensor"),
        (True, "builtins.bool"),
        (1, "builtins.int"),
        (None, "builtins.NoneType"),
        ((), "builtins.tuple"),
        (b"", "builtins.bytes"),
    ],
)
def test_every_value_has_a_kind(value: object, kind: str) -> None:
    """The kind is the name that Python has for the class."""
    assert kind_of(value) == kind


def test_attributes_are_those_of_the_one_dict() -> None:
    """An object's attributes are in its only dict, alone or in a pair of states; of two it is not
    known which.
    """
    own = Mapping(items={"a": 1})
    assert fields_of(Opaque("m.C", [(1, 2), own])) == {"a": 1}
    assert fields_of(Opaque("m.C", [(None, own)])) == {"a": 1}
    assert fields_of(Opaque("m.C", [own, Mapping()])) == {}
    assert fields_of(Opaque("m.C")) == fields_of(own) == fields_of(None) == {}
    assert list(dicts_in([own, (own, 1), [own]])) == [own.items, own.items]
