"""Dicts, lists and sets of a pickle are filled as far as a checkpoint of its size would."""

from __future__ import annotations

import pytest

from shardctl.formats.limits import KEY_WEIGHT
from shardctl.formats.pickle.containers import Containers
from shardctl.formats.pickle.keys import KeyRefusedError
from shardctl.formats.pickle.values import Mapping, Opaque, PickleFaultError, Sequence


def filling(target: object, limit: int = 1_000, data: bytes = b"") -> Containers:
    """Containers with a target on the stack."""
    stack = Containers(data, 0, limit)
    stack.push(target)
    return stack


def test_items_keep_their_order() -> None:
    """Keys and values alternate, and their order is that of the pickle."""
    target = Mapping()
    filling(target).set_items(["b", 1, "a", 2])
    assert list(target.items.items()) == [("b", 1), ("a", 2)]


def test_a_key_without_a_value_is_refused() -> None:
    """An odd number of values is a fault, and sets nothing."""
    target = Mapping()
    with pytest.raises(PickleFaultError, match="without a value"):
        filling(target).set_items(["a", 1, "b"])
    assert target.items == {}


def test_a_text_or_bytes_cannot_be_a_key_twice() -> None:
    """The second of two equal keys would hide a tensor: that is refused, and the key is named."""
    for key, shown in (("w" * 300, "w" * 100), (b"w", "…"), (None, "…")):
        stack = filling(Mapping())
        stack.set_items([key, 1])
        with pytest.raises(PickleFaultError, match=f"duplicate key '{shown}' in one dict"):
            stack.set_items([key, 2])


def test_the_last_of_equal_numbers_counts() -> None:
    """Numbers that are equal are one key, as in Python, and the last value counts."""
    target = Mapping()
    filling(target).set_items([1, "a", True, "b", (1, 2), "c", (1.0, 2), "d"])
    assert list(target.items.values()) == ["b", "d"]


def test_a_container_cannot_be_a_key() -> None:
    """What Python does not take as a key is refused."""
    with pytest.raises(KeyRefusedError):
        filling(Mapping()).set_items([Mapping(), 1])


def test_keys_that_are_not_texts_are_weighed() -> None:
    """So many keys as the limit allows can be set, and one more is refused."""
    stack = filling(Mapping(), limit=2 * KEY_WEIGHT)
    stack.set_items([1, "a", 2, "b", "text", "c"])
    with pytest.raises(PickleFaultError, match="more keys than any checkpoint of its size"):
        stack.set_items([3, "c"])


def test_what_is_read_again_is_counted() -> None:
    """As many bytes as the pickle has may be read again, and not one more."""
    stack = filling(None, data=bytes(10))
    stack.spend(4)
    stack.spend(6)
    with pytest.raises(PickleFaultError, match="again and again"):
        stack.spend(1)


@pytest.mark.parametrize(("kind", "other"), [("list", "set"), ("set", "list")])
def test_lists_and_sets_take_values_in_their_own_way(kind: str, other: str) -> None:
    """A list is appended to, a set is added to, and never the other way."""
    target = Sequence(kind)
    stack = filling(target)
    fill = {"list": stack.append, "set": stack.add}
    fill[kind]([1, 2])
    fill[kind]([3])
    assert target.items == [1, 2, 3]
    with pytest.raises(PickleFaultError, match=f"not a {other}"):
        fill[other]([4])
    assert target.items == [1, 2, 3]


def test_a_frozenset_takes_no_values() -> None:
    """What cannot change in Python does not change here."""
    for fill in ("append", "add"):
        with pytest.raises(PickleFaultError):
            getattr(filling(Sequence("frozenset")), fill)([1])


def test_unknown_objects_keep_what_they_are_given() -> None:
    """Values of an object that is only named become its parts, so that tensors there are found."""
    target = Opaque("m.C")
    stack = filling(target)
    stack.append([1])
    stack.add([2])
    stack.set_items(["k", 3])
    assert target.parts == [1, 2, "k", 3]


def test_nothing_is_put_into_what_may_be_a_tensor() -> None:
    """An object that could be one of the tensors is refused any values: they would change it."""
    target = Opaque("m.C", [], shares_tensor=True)
    for fill, values in (("append", [1]), ("add", [1]), ("set_items", ["k", 1])):
        with pytest.raises(PickleFaultError):
            getattr(filling(target), fill)(values)
    assert target.parts == []
    with pytest.raises(PickleFaultError, match="not a dict"):
        filling("text").set_items(["k", 1])
