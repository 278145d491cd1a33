"""What a damaged checkpoint holds, as far as its headers can be read: the ground that findings are drawn on."""

from __future__ import annotations

from shardctl.discover import find_source, read_checkpoint
from shardctl.errors import InputError, UsageError
from shardctl.inspection import Inspection, inspect_checkpoint
from shardctl.model import Finding
from shardctl.stores.base import Store


def look(store: Store, source: str, key: str | None) -> Inspection | None:
    """The checkpoint without what is wrong with it; None where nothing of it can be read, or it is not clear which."""
    try:
        located = find_source(store, source, whole_set=False)
        checkpoint = read_checkpoint(store, located, _pass_over, key, drop_non_tensors=True, nested=True)
        return inspect_checkpoint(store, source, located, checkpoint, None, ())
    except (InputError, UsageError):
        return None


def _pass_over(_: Finding) -> None:
    """Whoever draws knows the findings already."""
