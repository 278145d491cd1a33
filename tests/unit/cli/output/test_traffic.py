"""What went over the network is counted once for each store."""

from __future__ import annotations

import pytest

from shardctl.cli.output.traffic import log_traffic, network, total, traffic
from shardctl.stores.capabilities import Traffic
from shardctl.testing.memory import MemoryStore


class Far(MemoryStore):
    """A store across a network, with counts."""

    at_once = 1

    def __init__(self, *counts: int) -> None:
        super().__init__()
        self._counts = Traffic(*counts)

    def traffic(self) -> Traffic:
        """Return the counts."""
        return self._counts


def test_stores_on_this_machine_have_none() -> None:
    """Nothing is said, and the document has no key."""
    for stores in ((), (None,), (MemoryStore(), None)):
        assert total(*stores) is None
        assert list(traffic(*stores)) == []
        assert network(*stores) == {}


def test_two_stores_are_summed_and_one_is_counted_once() -> None:
    """Source and target may be one store."""
    one, other = Far(1, 10, 100, 1_000), Far(2, 20, 0, 0)
    assert total(one, MemoryStore(), other, None) == Traffic(3, 30, 100, 1_000)
    assert total(one, one) == Traffic(1, 10, 100, 1_000)
    assert network(one, other) == {
        "network": {"requests": 3, "received": 30, "sent": 100, "copied": 1_000}
    }


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ((1, 0, 0, 0), "network: 1 request, 0 B received"),
        ((2, 1_000, 5, 0), "network: 2 requests, 1.0 KB received, 5 B sent"),
        ((2, 0, 0, 7), "network: 2 requests, 0 B received, 7 B copied by the server"),
    ],
)
def test_the_line_says_what_there_was(
    counts: tuple[int, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that were not sent or copied are not mentioned; with `quiet` nothing is printed."""
    assert list(traffic(Far(*counts))) == [line]
    log_traffic(Far(*counts), quiet=True)
    assert capsys.readouterr().err == ""
    log_traffic(Far(*counts), quiet=False)
    assert line in capsys.readouterr().err
