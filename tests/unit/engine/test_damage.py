"""Bytes of a source that do not have their checksum are refused, or named where accepted."""

from __future__ import annotations

import pytest

from shardctl.engine.damage import damage
from shardctl.engine.parts import Outcome
from shardctl.errors import FormatError
from shardctl.layout import Check, Copy, Layout, Literal
from shardctl.model import Extent

EXTENT = Extent("m/x.bin", 12_345, 4)
#: A literal, a copy without a checksum, one with it, and a record that is only checked.
LAYOUT = Layout(
    (
        Literal(b"abcd"),
        Copy(Extent("m/x.bin", 0, 4)),
        Copy(EXTENT, 0xA),
        Check(Extent("m/y.bin", 7, 4), 0xB, "a.weight"),
    ),
    12,
)


def summed(crcs: dict[int, int]) -> Outcome:
    """What was summed of the pieces, by their numbers."""
    outcome = Outcome.of(LAYOUT)
    outcome.crcs.update(crcs)
    return outcome


@pytest.mark.parametrize("crcs", [{}, {2: 0xA}, {2: 0xA, 3: 0xB}, {0: 1, 1: 1}])
def test_what_matches_or_was_not_summed_is_not_damaged(crcs: dict[int, int]) -> None:
    """Only a checksum that is recorded, was computed, and differs is damage."""
    assert damage(LAYOUT, summed(crcs), accept=False) == ()


def test_the_first_damage_is_refused() -> None:
    """The error has the file, the offset, both checksums, and ways on that lose nothing."""
    with pytest.raises(FormatError, match=r"^'m/x\.bin': the record at byte 12,345 does") as caught:
        damage(LAYOUT, summed({2: 0xC, 3: 0xD}), accept=False)
    error = caught.value
    assert (error.code, error.file, error.offset) == ("zip-crc-mismatch", "m/x.bin", 12_345)
    assert error.tensor is None
    assert "(recorded 0000000a, found 0000000c)" in error.message
    assert "download or save it again" in error.hint
    assert "`accept_damage`" in error.hint


def test_the_tensor_is_named_where_it_is_known() -> None:
    """A checked record says of which tensor it is."""
    with pytest.raises(FormatError, match=r"the record of tensor 'a\.weight' at byte 7") as caught:
        damage(LAYOUT, summed({3: 0}), accept=False)
    assert caught.value.tensor == "a.weight"


def test_all_accepted_damage_is_named() -> None:
    """Each damaged place is returned, in order, none is left out."""
    found = damage(LAYOUT, summed({2: 0xC, 3: 0}), accept=True)
    assert [each.place for each in found] == [
        "'m/x.bin' at byte 12,345",
        "tensor 'a.weight' in 'm/y.bin' at byte 7",
    ]


def test_names_in_the_report_are_escaped() -> None:
    """A name of a file or a tensor cannot move the cursor of a terminal."""
    layout = Layout((Check(Extent("\x1b[2J", 0, 1), 1, "\x1b]0;"),), 0)
    (found,) = damage(layout, summed({0: 2}), accept=True)
    assert "\x1b" not in found.place
    assert "\x1b]" not in found.error().message
