"""The places of a memo that a pickle may recall."""

from __future__ import annotations

import pickle
import struct

import pytest

from shardctl.formats.pickle.recalls import recalled_places
from shardctl.formats.pickle.values import PickleFaultError
from shardctl.formats.torch.unpickle import unpickle


def test_places_that_opcodes_name() -> None:
    """The places of one byte count, and those that LONG_BINGET and GET name, wherever they are."""
    data = b"Kj" + b"j" + struct.pack("<I", 70_000) + b"g300\n" + b"g\ng12"
    places = recalled_places(data, 0)
    assert all(
        place in places for place in (0, 255, 70_000, 300, struct.unpack("<I", data[2:6])[0])
    )
    assert not any(place in places for place in (256, 299, 70_001))


def test_places_before_the_start_do_not_count() -> None:
    """Only the pickle itself is looked at, and not what is before it."""
    assert 300 not in recalled_places(b"g300\nN.", 5)


def test_a_pickle_of_little_else_recalls_all() -> None:
    """Where every few bytes could recall something, every place counts."""
    places = recalled_places(b"j" * 5_000, 0)
    assert 10**19 - 1 in places
    assert 256 in places


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_what_is_shared_is_recalled(protocol: int) -> None:
    """Values that were remembered far from the first 256 are found again."""
    texts = [f"text {number}" for number in range(600)]
    root = unpickle(pickle.dumps((*texts, *texts), protocol)).root
    assert root == (*texts, *texts)


def test_a_place_that_no_opcode_filled() -> None:
    """A place is unknown that was not filled, and one that was filled out of order is not."""
    with pytest.raises(PickleFaultError, match="memo place 7 was never filled"):
        unpickle(b"Nq\x00h\x07.")
    data = b"K\x05r" + struct.pack("<I", 2**31) + b"q\x000j" + struct.pack("<I", 2**31) + b"."
    assert unpickle(data).root == 5
