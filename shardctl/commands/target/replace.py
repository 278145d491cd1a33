"""Which files of the target are replaced or removed, and which must not be touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from shardctl.commands.target.resolve import Route, exists, listed
from shardctl.engine.commit.exchange import folded_name
from shardctl.errors import TargetExistsError
from shardctl.formats.registry import all_suffixes
from shardctl.naming import ADAPTER_STEMS, KNOWN_STEMS, parse_weights_name
from shardctl.planning.request import Replace, Request
from shardctl.source.directory.candidates import Candidate
from shardctl.source.locate import directory_checkpoints


def superseded(
    route: Route, request: Request, names: Sequence[str], how: Replace
) -> tuple[str, ...]:
    """Return the names in the target directory that the new files `names` replace.

    That is the set of the same stem, format and variant and, in place, the set that was read; with
    "all", every checkpoint that loaders know by name. Raises TargetExistsError for whatever else
    would be mixed with the new set or overwritten.
    """
    store, target = route.target_store, route.target
    rules = _Rules(route, request, frozenset(names), route.names_read(), how)
    found = directory_checkpoints(store, target.directory)
    if route.in_place and how == "nothing" and not rules.leaves_source(found):
        raise TargetExistsError(
            f"'{target.directory}' is the source itself",
            hint='choose another target, or add `replace="same"` to replace the source',
            file=target.directory,
        )
    there = listed(store, target.directory)
    old: dict[str, None] = {}
    for candidate in found:
        if rules.replaces(candidate):
            old |= dict.fromkeys(candidate.names)
        elif rules.mixes_with(candidate):
            raise rules.refusal(candidate, found)
    old |= dict.fromkeys(rules.read_indexes(old))
    for name in names:
        if name in old:
            continue
        kind = store.kind(store.join(target.directory, name))
        # On a filesystem that ignores case, a name that is not listed can be taken all the same.
        if name not in there and (kind is None or _is_spelled_otherwise(name, old)):
            continue
        if how == "nothing" or kind != "file":
            raise exists(store, target, name)
        old[name] = None
    return tuple(old)


def _is_spelled_otherwise(name: str, old: Iterable[str]) -> bool:
    folded = folded_name(name)
    return any(folded_name(each) == folded for each in old)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What happens to the checkpoints that the target directory has already.

    `names` are those of the new files; `read` are the names in the directory that are read.
    """

    route: Route
    request: Request
    names: frozenset[str]
    read: frozenset[str]
    how: Replace

    def replaces(self, candidate: Candidate) -> bool:
        """Whether the new set replaces a checkpoint."""
        filename = self.route.target.filename
        if self.how == "nothing" or (candidate.is_set and filename in candidate.names):
            return False
        stem, variant = self._identity()
        if filename is None and self._is_source(candidate):
            return True
        if filename is not None and stem not in KNOWN_STEMS:
            return False  # a file of a free name does not replace another checkpoint
        same = (candidate.stem, candidate.variant, candidate.format) == (
            stem,
            variant,
            self.request.format,
        )
        return candidate.known and (self.how == "all" or same)

    def read_indexes(self, old: Collection[str]) -> Iterator[str]:
        """Yield the index that was read, whatever its name, where its set is replaced.

        It would name files that it was not written for.
        """
        index = self.route.located.index_path
        if index is not None and not self.read.isdisjoint(old):
            name = self.route.source_store.split(index)[1]
            if name in self.read:
                yield name

    def mixes_with(self, candidate: Candidate) -> bool:
        """Whether a checkpoint that stays would be mixed up with the new one.

        Into a directory: any that is not set apart; but weights of a name that no loader looks for
        are left alone with "all". A file that the user named: any beside it if loaders know its own
        name too, and a set that it is a member of.
        """
        filename = self.route.target.filename
        if filename is not None and filename in candidate.names:
            return candidate.is_set
        if not self.names.isdisjoint(candidate.names):
            return True
        if self.is_apart(candidate):
            return False
        if filename is None:
            return candidate.known or self.how != "all"
        parsed = parse_weights_name(filename, all_suffixes())
        return candidate.known and parsed is not None and parsed.known

    def is_apart(self, candidate: Candidate) -> bool:
        """Whether no loader takes a checkpoint for the new one.

        It is of another variant, which loaders ask for by name, or just one of them is an adapter.
        """
        stem, variant = self._identity()
        adapters = {stem, candidate.stem} & set(ADAPTER_STEMS)
        differ = candidate.stem != stem and bool(adapters)
        return candidate.known and (differ or candidate.variant != variant)

    def leaves_source(self, found: Sequence[Candidate]) -> bool:
        """Whether what was read can stay beside the new set in its directory."""
        read = [candidate for candidate in found if self._is_source(candidate)]
        beside = self.route.target.filename is None and self.read.isdisjoint(self.names)
        return beside and bool(read) and all(map(self.is_apart, read))

    def refusal(self, candidate: Candidate, found: Sequence[Candidate]) -> TargetExistsError:
        """Return the error for a checkpoint that would be mixed up with the new one.

        `found` are all that are in the directory.
        """
        directory = self.route.target.directory or "."
        return TargetExistsError(
            f"'{directory}' already holds a checkpoint: {candidate.title}",
            hint=self._way_out(candidate, found),
            file=directory,
        )

    def _way_out(self, candidate: Candidate, found: Sequence[Candidate]) -> str:
        if self.route.target.filename in candidate.names:
            return "name the directory to replace the whole set, or choose another file"
        if self._allows(candidate, "same"):
            return 'choose another target, or add `replace="same"` to replace it'
        if any(map(self.is_apart, found)):
            # To replace every checkpoint would remove the other precision, or the adapter.
            return "choose another target, or move that checkpoint to another directory"
        if self._allows(candidate, "all"):
            return 'choose another target, or add `replace="all"` to replace every checkpoint in it'
        return "choose another target, or another `name`"

    def _allows(self, candidate: Candidate, how: Replace) -> bool:
        rules = replace(self, how=how)
        return rules.replaces(candidate) or not rules.mixes_with(candidate)

    def _is_source(self, candidate: Candidate) -> bool:
        return not self.read.isdisjoint(candidate.names)

    def _identity(self) -> tuple[str, str | None]:
        """Return stem and variant of what is written, those of the file that the user named."""
        filename = self.route.target.filename
        if filename is not None:
            parsed = parse_weights_name(filename, all_suffixes())
            return (filename, None) if parsed is None else (parsed.stem, parsed.variant)
        return self.request.stem, self.request.variant
