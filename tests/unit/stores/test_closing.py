"""What is opened in a `with` block is closed at its end, however that ends."""

from __future__ import annotations

import pytest

from shardctl.stores.closing import Closing


class Counted(Closing):
    """Counts how often it was closed."""

    closed = 0

    def close(self) -> None:
        """Count."""
        self.closed += 1


def test_it_is_closed_once() -> None:
    """The block gets the object itself, and closes it at the end."""
    thing = Counted()
    with thing as inside:
        assert inside is thing
        assert thing.closed == 0
    assert thing.closed == 1


def test_it_is_closed_after_an_error_too() -> None:
    """The error goes on."""
    thing = Counted()
    with pytest.raises(KeyError), thing:
        raise KeyError
    assert thing.closed == 1


def test_there_may_be_nothing_to_close() -> None:
    """By default closing does nothing, as often as it is asked for."""
    with Closing() as thing:
        thing.close()
