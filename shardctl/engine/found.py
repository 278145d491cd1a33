"""Find the checkpoint to read, and know what an interrupted run has left in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from shardctl.errors import MissingError, StorageError, TargetExistsError
from shardctl.naming import STAGING
from shardctl.source.locate import Located, find_source
from shardctl.stores.base import Store
from shardctl.stores.capabilities import ReadOnly
from shardctl.text import escape

if TYPE_CHECKING:
    from shardctl.engine.journal.interrupted import HowFar


def find_checkpoint(
    store: Store,
    source: str,
    *,
    whole_set: bool = True,
    variant: str | None = None,
    or_any: bool = False,
) -> Located:
    """Return the files that `source` means, as `find_source` does, and it raises the same.

    Raises InputError (`half-done`) where a replacement was interrupted there. Where there is an
    unfinished run and no checkpoint yet, the MissingError says how far it came.
    """
    with beside_run(store, source):
        return find_source(store, source, whole_set=whole_set, variant=variant, or_any=or_any)


@contextmanager
def beside_run(store: Store, source: str) -> Iterator[HowFar | None]:
    """Yield what `unfinished_run` returns; a MissingError of the block then says that it is there.

    Raises as `unfinished_run` does.
    """
    left = unfinished_run(store, source)
    try:
        yield left
    except MissingError as error:
        if left is None:
            raise
        message = f"'{escape(source)}' holds no checkpoint yet, but {left.message}"
        raise MissingError(message, hint=left.hint, file=source) from error


def unfinished_run(store: Store, source: str) -> HowFar | None:
    """Return how far an unfinished run into a directory came, where that is `source`.

    Raises InputError (`half-done`) where a replacement was interrupted there, or beside the file.
    """
    if isinstance(store, ReadOnly):  # where no run leaves anything, and each look is a request
        return None
    is_directory = store.kind(source) == "directory"
    directory = source if is_directory else store.split(source)[0]
    if store.kind(store.join(directory, STAGING)) is None:
        return None
    # Elsewhere nothing of the journal is needed, which takes time to import.
    from shardctl.engine.journal.interrupted import check_not_half_replaced, how_far  # noqa: PLC0415

    check_not_half_replaced(store, source)
    # A run of another user, whose state this one may not see, does not prevent reading.
    with suppress(TargetExistsError, StorageError):
        return how_far(store, directory) if is_directory else None
    return None
