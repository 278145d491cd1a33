"""What must hold in the target before a run changes anything, and again before the commit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shardctl.engine.journal.interrupted import FINISHES_PARTS, SHOWN_ID, half_replaced
from shardctl.engine.journal.journal import RunIdentity
from shardctl.errors import InputError, TargetError, TargetExistsError
from shardctl.formats.registry import all_suffixes
from shardctl.model import Version
from shardctl.naming import is_training_state, is_weights_or_index
from shardctl.stores.base import Entry, Store
from shardctl.stores.optional import forget
from shardctl.stores.paths import below
from shardctl.text import escape, plural

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was in the target directory when a run was planned, as far as the plan depends on it.

    `names` are those that the run may write or remove, also below the directory (`sub/a`). With
    `weights`, every file of weights and every index in it counts too, whatever its name: the run
    makes a checkpoint of the whole directory. `files` gives the version of each, None for what is
    not a file.
    """

    names: frozenset[str]
    weights: bool
    files: Mapping[str, Version | None]

    @classmethod
    def of(
        cls, target: Store, directory: str, names: Collection[str], *, weights: bool
    ) -> Surroundings:
        """Look at a directory, which need not exist."""
        wanted = frozenset(names)
        files: dict[str, Version | None] = {}
        for above in {name.rpartition("/")[0] for name in (*wanted, "")}:
            path = below(target, directory, above) if above else directory
            for entry in target.list(path) if target.kind(path) == "directory" else ():
                name = f"{above}/{entry.name}" if above else entry.name
                if name in wanted or (weights and not above and _is_weights(name)):
                    files[name] = _version(target, path, entry)
        return cls(wanted, weights, files)

    def without(self, names: Collection[str]) -> Surroundings:
        """Return these without some names, which may change before the run."""
        files = {name: version for name, version in self.files.items() if name not in names}
        return Surroundings(self.names - set(names), self.weights, files)

    def changed(self, target: Store, directory: str) -> list[str]:
        """Return the names that are new, gone, or of another version now."""
        forget(target)
        now = Surroundings.of(target, directory, self.names, weights=self.weights).files
        absent = object()
        return sorted(
            name
            for name in {*self.files, *now}
            if self.files.get(name, absent) != now.get(name, absent)
        )


def _version(target: Store, directory: str, entry: Entry) -> Version | None:
    try:
        return target.version(target.join(directory, entry.name)) if entry.readable else None
    except InputError:
        # It was removed or replaced since the directory was listed: that counts as no file too.
        return None


def _is_weights(name: str) -> bool:
    return is_weights_or_index(name, all_suffixes()) and not is_training_state(name)


def refuse_changed(target: Store, directory: str, planned_for: Surroundings) -> None:
    """Raise TargetExistsError where the target directory is not what the run was planned for."""
    changed = planned_for.changed(target, directory)
    if changed:
        path = below(target, directory, changed[0])
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise TargetExistsError(
            f"'{path}'{more} changed during this run: another program writes to the target",
            hint="run the command again: it checks the target again",
            code="target-changed",
            file=path,
        )


class Unfinished(Protocol):
    """What is known of an unfinished run. `home` is the path of the directory of its state."""

    @property
    def home(self) -> str: ...

    def has_commit(self) -> bool:
        """Whether its commit was begun."""

    def identity(self) -> RunIdentity | None:
        """Return which run it is; None where there is none."""

    def names(self) -> Collection[str]:
        """Return the names of the files that it was to write."""

    def receipts(self) -> Mapping[str, object]:
        """Return what is finished, by the names of the files."""


def refuse_foreign(
    directory: str, identity: RunIdentity, journal: Unfinished, *, restart: bool
) -> None:
    """Raise TargetExistsError where the journal is another run's. Nothing of it is touched then.

    With `restart` an unfinished run of another plan may be discarded; a commit that was begun
    never.
    """
    if journal.has_commit():
        raise half_replaced(TargetExistsError, directory)
    earlier = None if restart else journal.identity()
    if earlier is None or earlier == identity:
        return
    message = f"'{directory}' holds an unfinished run {earlier.differences(identity)}"
    hint = "run the earlier command again to finish it, or add `restart` to discard it"
    if earlier.shared:
        done, names = journal.receipts().keys() & {*journal.names()}, journal.names()
        message += (
            f" of the plan {earlier.plan_id[:SHOWN_ID]}: {len(done):,} of "
            f"{plural(len(names), 'shard')} done"
        )
        hint = f"{FINISHES_PARTS}, or add `restart` to discard it"
    raise TargetExistsError(message, hint=hint, code="half-done", file=journal.home)


def not_finished(
    missing: Sequence[str], count: int, directory: str, *, outdated: bool
) -> TargetError:
    """Return the error for files of a shared run, of `count` in all, that are not staged yet.

    Where they are `outdated`, they were: the source is another one since.
    """
    shown = ", ".join(map(escape, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
    if outdated:
        return TargetError(
            f"the contents of the source changed since parts of it were written to '{directory}': "
            f"what they wrote is discarded, and 0 of {plural(count, 'shard')} are done",
            hint="find out what wrote to the source; if it is as you want it, run all parts again, "
            "with `apply_part`",
            code="parts-missing",
            file=directory,
        )
    return TargetError(
        f"{count - len(missing):,} of {plural(count, 'shard')} are done in '{directory}'; "
        f"missing: {shown}",
        hint="run the parts that have not ended, with `apply_part`; a part that is repeated "
        "writes only what is missing",
        code="parts-missing",
        file=directory,
    )
