"""What went over the network, for the summary of a command."""

from __future__ import annotations

from collections.abc import Iterator

from shardctl.cli.exits import log
from shardctl.sizes import format_size
from shardctl.stores.base import Store
from shardctl.stores.capabilities import Remote
from shardctl.text import plural


def traffic(*stores: Store | None) -> Iterator[str]:
    """Yield a line for each store across a network; two that are the same count once."""
    for store in {id(store): store for store in stores}.values():
        if isinstance(store, Remote):
            sent = store.traffic()
            received = format_size(sent.nbytes)
            yield f"network: {plural(sent.requests, 'request')}, {received} received"


def log_traffic(*stores: Store | None, quiet: bool) -> None:
    """Print what the stores across a network were asked for."""
    for line in traffic(*stores):
        log(line, quiet=quiet)
