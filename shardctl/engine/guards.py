"""What must hold around a run before it changes anything, and once more before it gives files their names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shardctl.engine.journal import Journal, RunIdentity
from shardctl.errors import InputError, TargetExistsError
from shardctl.formats.registry import all_suffixes
from shardctl.model import Version
from shardctl.naming import is_training_state, is_weights_or_index
from shardctl.stores.base import Entry, Store


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lay in the target folder when a run was planned, as far as the plan depends on it.

    `names` are those that the run may write or remove. With `weights`, every file of weights and
    every index counts too, whatever its name: the run makes a checkpoint of the whole folder.
    `files` gives the version of each that was there, None for what is no file.
    """

    names: frozenset[str]
    weights: bool
    files: Mapping[str, Version | None]

    @classmethod
    def of(
        cls, store: Store, directory: str, names: Collection[str], *, weights: bool
    ) -> Surroundings:
        """Look at a folder, which need not exist."""
        wanted = frozenset(names)
        if store.kind(directory) != "directory":
            return cls(wanted, weights, {})
        entries = [
            entry
            for entry in store.list(directory)
            if entry.name in wanted or (weights and _is_weights(entry.name))
        ]
        files = {entry.name: _version(store, directory, entry) for entry in entries}
        return cls(wanted, weights, files)

    def changed(self, store: Store, directory: str) -> list[str]:
        """The names that are no longer what they were: new, gone, or of another version."""
        now = Surroundings.of(store, directory, self.names, weights=self.weights).files
        absent = object()
        return sorted(
            name
            for name in {*self.files, *now}
            if self.files.get(name, absent) != now.get(name, absent)
        )


def _version(store: Store, directory: str, entry: Entry) -> Version | None:
    try:
        return store.version(store.join(directory, entry.name)) if entry.readable else None
    except InputError:
        # It went, or became something else, since the folder was listed: that counts as no file
        # too.
        return None


def _is_weights(name: str) -> bool:
    return is_weights_or_index(name, all_suffixes()) and not is_training_state(name)


def refuse_changed(store: Store, directory: str, planned_for: Surroundings) -> None:
    """Raise TargetExistsError where the target folder is not what the run was planned for."""
    changed = planned_for.changed(store, directory)
    if changed:
        path = store.join(directory, changed[0])
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise TargetExistsError(
            f"'{path}'{more} changed while this run was at work: something else writes to the target",
            hint="run the command again: it looks at the target anew",
            code="target-changed",
            file=path,
        )


def refuse_links(store: Store, directory: str, staging: str) -> None:
    """Raise TargetExistsError where the staging folder of a target, or anything in it, is a link.

    A folder from elsewhere may bring some, and files would be swept, written or opened to others
    wherever they lead.
    """
    _refuse_links_in(store, directory, only=store.split(staging)[1])
    for own in (staging, Journal(store, staging).files):
        _refuse_links_in(store, own)


def _refuse_links_in(store: Store, directory: str, only: str | None = None) -> None:
    if store.kind(directory) != "directory":
        return
    for entry in store.list(directory):
        if entry.kind == "link" and only in (None, entry.name):
            own = store.join(directory, entry.name)
            raise TargetExistsError(
                f"'{own}' is a link, and the run's own files must lie beside the target",
                hint="remove the link",
                file=own,
            )


def refuse_foreign(directory: str, header: RunIdentity, journal: Journal, *, restart: bool) -> None:
    """Raise TargetExistsError where the journal is another run's. Nothing of it is touched then.

    With `restart` a half-done run of another plan may be thrown away; a commit that was begun
    never.
    """
    if journal.commit() is not None:
        raise TargetExistsError(
            f"'{directory}' holds files that another run was putting in place when it was cut short",
            hint="run the same command again: that is finished first",
            code="half-done",
            file=journal.staging,
        )
    earlier = None if restart else journal.header()
    if earlier is not None and earlier != header:
        differs = "; ".join(earlier.differences(header))
        raise TargetExistsError(
            f"'{directory}' holds a half-done run of another plan: {differs}",
            hint="run the earlier command again to finish it, or this one with --restart to throw it away",
            code="half-done",
            file=journal.staging,
        )
