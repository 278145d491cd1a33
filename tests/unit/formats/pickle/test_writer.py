"""What is written is what pickle itself reads, in protocol 2."""

from __future__ import annotations

import pickle
import pickletools

import pytest

from shardctl.formats.pickle.writer import EMPTY_LIST, PROTO, STOP, PickleWriter


def read(writer: PickleWriter) -> object:
    """What pickle reads of that, in protocol 2."""
    data = PROTO + bytes(writer.made) + STOP
    assert max(opcode.proto for opcode, _, _ in pickletools.genops(data)) <= 2
    return pickle.loads(data)


@pytest.mark.parametrize(
    "value",
    [
        0,
        255,
        256,
        65535,
        65536,
        0x7FFFFFFF,
        0x80000000,
        0xFFFFFFFF,
        (1 << 63) - 1,
        1 << 63,
        1 << 64,
    ],
)
def test_numbers_at_every_width(value: int) -> None:
    """The smallest and the largest number of each form is read back."""
    writer = PickleWriter()
    writer.number(value)
    assert read(writer) == value
    assert bytes(writer.made) == pickle.dumps(value, 2)[2:-1]


@pytest.mark.parametrize("count", range(6))
def test_tuples_of_every_length(count: int) -> None:
    """Up to three numbers have a special opcode, longer tuples a mark."""
    values = tuple(range(250, 250 + 10 * count, 10))
    writer = PickleWriter()
    writer.numbers(values)
    assert read(writer) == values


@pytest.mark.parametrize("text", ["", "a", "ż", "\U0001f600", "x" * 300])
def test_texts(text: str) -> None:
    """A text has its length in bytes."""
    writer = PickleWriter()
    writer.text(text)
    assert read(writer) == text


def test_what_is_remembered_is_recalled() -> None:
    """The same text or name is written once, and recalled by place; another is not."""
    writer = PickleWriter()
    writer.text("abc")
    once = len(writer.made)
    writer.text("abc")
    assert bytes(writer.made[once:]) == b"h\x00"
    assert not writer.recalled("other")
    writer.imported("collections", "OrderedDict")
    before = len(writer.made)
    writer.imported("collections", "OrderedDict")
    assert bytes(writer.made[before:]) == b"h\x01"
    writer.imported("collections", "Counter")
    assert writer.made.endswith(b"ccollections\nCounter\nq\x02")


def test_a_text_that_is_not_remembered_takes_no_place() -> None:
    """It is written in full each time."""
    writer = PickleWriter()
    for _ in range(2):
        writer.text("abc", remember=False)
    assert writer.made.count(b"abc") == 2
    assert b"q" not in writer.made


def test_a_value_that_is_not_asked_for_takes_a_place() -> None:
    """Places are counted as torch counts them, also those that nothing recalls."""
    writer = PickleWriter()
    writer.remember(None)
    writer.remember("x")
    assert bytes(writer.made) == b"q\x00q\x01"
    assert not writer.recalled(None)
    assert writer.recalled("x")


def test_more_places_than_a_byte_counts() -> None:
    """From place 256 on, places have four bytes, in both directions."""
    writer = PickleWriter()
    writer.made += EMPTY_LIST
    texts = [f"t{number}" for number in range(258)]
    for text in texts:
        writer.text(text)
        writer.made += b"a"
    for text in texts[254:]:
        writer.text(text)
        writer.made += b"a"
    assert read(writer) == texts + texts[254:]
