"""The stack keeps what is below a mark, the memo finds its places, and both are weighed."""

from __future__ import annotations

import struct

import pytest

from shardctl.formats.limits import CONTAINER_WEIGHT, KEY_WEIGHT
from shardctl.formats.pickle.stack import Stack
from shardctl.formats.pickle.values import PickleCutShortError, PickleFaultError
from shardctl.formats.torch.unpickle import unpickle


def filled(*values: object, data: bytes = b"") -> Stack:
    """A stack of these values, about to read some bytes."""
    stack = Stack(data, 0)
    for value in values:
        stack.push(value)
    return stack


def test_nothing_is_taken_from_below_a_mark() -> None:
    """Neither POP nor a look, nor a tuple of the last values, reaches past an open mark."""
    stack = filled("below")
    stack.mark()
    for take in (stack.pop, stack.top, lambda: stack.several(1)):
        with pytest.raises(IndexError):
            take()
    stack.push("above")
    with pytest.raises(IndexError):
        stack.several(2)
    assert stack.top() == "above"
    stack.several(1)
    assert stack.pop_mark() == [("above",)]
    assert stack.pop() == "below"
    for take in (stack.pop, stack.top, stack.pop_mark, stack.make_tuple):
        with pytest.raises(IndexError):
            take()


def test_marks_nest() -> None:
    """The last mark is the one that counts; a tuple takes what is above it, in order."""
    stack = filled(1)
    stack.mark()
    stack.push(2)
    stack.mark()
    stack.push(3)
    stack.push(4)
    stack.make_tuple()
    assert stack.pop_mark() == [2, (3, 4)]
    assert stack.pop() == 1


def test_pop_removes_a_mark_on_top_only() -> None:
    """A mark with a value above it stays, and the value goes."""
    stack = filled()
    stack.mark()
    stack.push(1)
    stack.pop_or_unmark()
    assert stack.pop_mark() == []
    stack.push(1)
    stack.mark()
    stack.pop_or_unmark()
    assert stack.pop() == 1


@pytest.mark.parametrize("length", [0, 3])
def test_a_text_ends_where_its_length_says(length: int) -> None:
    """The text may end with the bytes; one byte less is cut short, before it is on the stack."""
    data = struct.pack("<I", length) + b"abc"[:length]
    stack = filled(data=data)
    stack.push_text()
    assert stack.pop() == "abc"[:length]
    short = filled(data=data[:-1])
    with pytest.raises(PickleCutShortError):
        short.push_text()
    with pytest.raises(IndexError):
        short.pop()


def test_lone_surrogates_are_kept() -> None:
    """A text that is not valid Unicode comes through, so that the reader can name it."""
    stack = filled(data=struct.pack("<I", 3) + b"\xed\xa0\x80")
    stack.push_text()
    assert stack.pop() == "\ud800"


def test_bytes_are_numbers() -> None:
    """The byte is a number from 0 to 255, and the end of the bytes is noticed."""
    stack = filled(data=b"\xff\0")
    assert (stack.byte(), stack.byte()) == (255, 0)
    with pytest.raises(PickleCutShortError):
        stack.byte()


def test_places_of_the_memo() -> None:
    """Places are filled in order or anywhere, replaced, and each is found again."""
    stack = filled("a")
    stack.memoize()
    for value, place in (("far", 7), ("b", 1), ("new a", 0), ("far again", 7)):
        stack.push(value)
        stack.put(place)
    assert stack.remembered == 3
    found = []
    for place in (0, 1, 7):
        stack.get(place)
        found.append(stack.pop())
    assert found == ["new a", "b", "far again"]
    with pytest.raises(PickleFaultError, match="memo place 2 was never filled"):
        stack.get(2)


def test_a_far_place_that_comes_into_order_is_one_place() -> None:
    """Once the places before it are filled, a place that was put far is not there twice."""
    stack = filled("far")
    stack.put(1)
    for value in ("a", "b"):
        stack.push(value)
        stack.put(stack.remembered - 1 if value == "a" else 1)
    assert stack.remembered == 2
    stack.get(1)
    assert stack.pop() == "b"


def test_a_far_place_is_weighed() -> None:
    """Places out of order take up more memory, and count; those in order do not."""
    stack = filled("a")
    stack.put(0)
    assert stack._weight == 0
    stack.put(1 << 31)
    assert stack._weight == KEY_WEIGHT


def test_nothing_is_put_from_below_a_mark() -> None:
    """The value of the memo is on top, above the last mark."""
    stack = filled("below", data=bytes(4))
    stack.mark()
    for place in (0, 1 << 31):
        with pytest.raises(IndexError):
            stack.put(place)
    with pytest.raises(IndexError):
        stack.memoize()


def test_what_is_made_is_weighed() -> None:
    """A value weighs 1, a container 4, also one that a call gave and that counted as 1 before."""
    stack = filled("pushed is not made")
    stack.make(1)
    assert (stack._weight, stack.top()) == (1, 1)
    stack.make_container([])
    assert stack.top() == []
    assert stack._weight == 1 + CONTAINER_WEIGHT
    stack.several(1)
    stack.mark()
    stack.make_tuple()
    assert stack._weight == 3 + CONTAINER_WEIGHT
    stack.make("called")
    stack.weigh_container()
    assert stack._weight == 3 + 2 * CONTAINER_WEIGHT


def test_equal_texts_are_one_object() -> None:
    """A million short texts that are equal take the memory of one."""
    stack = filled()
    one, other = "ab" * 50, "".join(["ab"] * 50)
    assert one is not other
    assert stack.shared_text(one) is stack.shared_text(other)


def test_pop_takes_a_mark() -> None:
    """POP removes a mark that is on top, and never a value below an open one."""
    assert unpickle(b"\x80\x02N(0.").root is None
    with pytest.raises(PickleFaultError):
        unpickle(b"\x80\x02N(00.")  # the second takes the value: nothing is left for STOP
    assert unpickle(b"\x80\x02(N0t.").root == ()
    with pytest.raises(PickleFaultError, match="empty stack"):
        unpickle(b"\x80\x02N(2t.")
    with pytest.raises(PickleFaultError, match="empty stack"):
        unpickle(b"\x80\x02ctorch\nSize\nK\x02\x85\x85(R1.")  # the arguments are below the mark
