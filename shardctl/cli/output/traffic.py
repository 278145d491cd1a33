"""What went over the network, for the summary and the document of a command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shardctl.cli.exits import log
from shardctl.sizes import format_size
from shardctl.stores.base import Store
from shardctl.stores.capabilities import Remote, Traffic
from shardctl.text import plural


def total(*stores: Store | None) -> Traffic | None:
    """Return what all stores across a network were asked for; None where none is across one."""
    counts = list(_counts(stores))
    if not counts:
        return None
    return Traffic(
        sum(each.requests for each in counts),
        sum(each.nbytes for each in counts),
        sum(each.sent for each in counts),
        sum(each.copied for each in counts),
    )


def _counts(stores: Iterable[Store | None]) -> Iterator[Traffic]:
    for store in {id(store): store for store in stores}.values():
        if isinstance(store, Remote):
            yield store.traffic()


def traffic(*stores: Store | None) -> Iterator[str]:
    """Yield a line about the stores across a network, if there is one."""
    counts = total(*stores)
    if counts is not None:
        ways = [(counts.sent, "sent"), (counts.copied, "copied by the server")]
        more = "".join(f", {format_size(nbytes)} {way}" for nbytes, way in ways if nbytes)
        received = format_size(counts.nbytes)
        yield f"network: {plural(counts.requests, 'request')}, {received} received{more}"


def network(*stores: Store | None) -> dict[str, dict[str, int]]:
    """Return what a document says of it: a key, or nothing where no store is across a network."""
    counts = total(*stores)
    if counts is None:
        return {}
    return {
        "network": {
            "requests": counts.requests,
            "received": counts.nbytes,
            "sent": counts.sent,
            "copied": counts.copied,
        }
    }


def log_traffic(*stores: Store | None, quiet: bool) -> None:
    """Print what the stores across a network were asked for."""
    for line in traffic(*stores):
        log(line, quiet=quiet)
