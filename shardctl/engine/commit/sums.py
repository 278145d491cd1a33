"""Stage each `SHA256SUMS` that a run changes, to be renamed into place together with its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shardctl.checksums import CHECKSUMS, edit_checksums
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.receipts import Receipt
from shardctl.stores.atomic import write_new
from shardctl.stores.optional import keep_mode
from shardctl.stores.paths import below


def stage_sums(
    staging: Staging, directory: str, kept: Mapping[str, bytes], receipts: Sequence[Receipt]
) -> list[str]:
    """Stage those that will have lines, with the permissions of the old ones; return their names.

    `kept` is what stays of each, by name; to the one in the directory itself the digests of the
    receipts are added.
    """
    store = staging.store
    staged: list[str] = []
    changed = changed_sums(kept, receipts)
    for name in kept:
        whole = changed.get(name)
        files, path = staging.make_files(), staging.staged(name)
        files.remove(name)
        if whole is None:
            continue
        files.make(name.split("/")[:-1])
        write_new(store, path, whole)
        final = below(store, directory, name)
        if store.kind(final) == "file":
            keep_mode(store, final, path)
        staged.append(name)
    return staged


def changed_sums(kept: Mapping[str, bytes], receipts: Sequence[Receipt]) -> dict[str, bytes]:
    """Return the new bytes of those that will have lines, by name; as for `stage_sums`."""
    taken = {receipt.filename: receipt.sha256 for receipt in receipts if receipt.sha256}
    whole = {
        name: edit_checksums(data, (), taken) if name == CHECKSUMS else data
        for name, data in kept.items()
    }
    return {name: data for name, data in whole.items() if data}
