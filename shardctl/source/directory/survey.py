"""What lies in a directory: its checkpoints by their names, and what its indexes list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardctl.findings import Finding, ignore
from shardctl.formats.detection import read_file, recognise_file
from shardctl.formats.registry import all_suffixes, promised_by
from shardctl.model import Index
from shardctl.naming import may_be_weights, parse_index_name
from shardctl.source.directory.candidates import Candidate, candidates
from shardctl.source.state_dict import look
from shardctl.stores.base import Store
from shardctl.stores.paths import below
from shardctl.weight_map import shards_of

#: Files of any name that are opened in one directory to see whether they are weights.
_MOST_OPENED = 100


@dataclass(frozen=True, slots=True)
class IndexFile:
    """An index that was read: None for one that is unusable, and what was found wrong with it."""

    index: Index | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """A directory and every candidate in it.

    `only` is its index with its name, where there is just one: of several none is kept, so that no
    two are in memory at once. `names` are all the names, but those of directories.
    """

    store: Store
    directory: str
    names: Sequence[str]
    every: Sequence[Candidate]
    only: tuple[str, IndexFile] | None

    def checkpoints(self, *, to_read: bool = True) -> list[Candidate]:
        """Return the candidates that are in the directory, and might be loaded or replaced.

        Those that loaders know by name; only without these, whatever else has weights in it.
        `to_read`: without files that mean nothing alone.
        """
        every = [each for each in self.every if not (to_read and each.is_in_pieces)]
        known = [candidate for candidate in every if candidate.known]
        return known or self._by_contents(every)

    def readable(self) -> list[Candidate]:
        """Return those of the checkpoints that the directory could mean as a source.

        An index of files of which none is there is one only where there is nothing else.
        """
        found = self.checkpoints()
        here = [candidate for candidate in found if not self.is_gone(candidate)]
        return here or found or self._of_other_names()

    def is_gone(self, candidate: Candidate) -> bool:
        """Whether a candidate is an index that lists files of which none is there."""
        return candidate.gone and not candidate.stale

    def is_one(self, candidate: Candidate) -> bool:
        """Whether the files of a candidate are one checkpoint.

        Files that are numbered in a row may be several (`epoch-1.pt`, `epoch-2.pt`): then the first
        two have names of tensors in common.
        """
        if candidate.style != "series":
            return True
        first, second = (self._tensors(name) for name in candidate.files[:2])
        return bool(first) and bool(second) and first.isdisjoint(second)

    def index_of(self, candidate: Candidate) -> IndexFile:
        """Return a candidate's index, read again unless it is the only one.

        It is unusable where the candidate has none.
        """
        if candidate.index is None:
            return IndexFile(None, ())
        if self.only is not None and self.only[0] == candidate.index:
            return self.only[1]
        return _read_index(self.store, self.store.join(self.directory, candidate.index))

    def _by_contents(self, every: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates with weights in them, for names that no loader knows."""
        parts = [part for candidate in every for part in self._parts(candidate)]
        return [candidate for candidate in parts if self._has_weights(candidate)]

    def _of_other_names(self) -> list[Candidate]:
        """Return the files with weights in them that do not have the suffix of weights."""
        taken = {name for candidate in self.every for name in candidate.names}
        others = [name for name in self.names if name not in taken and may_be_weights(name)]
        return [
            Candidate(name, None, "", (name,))
            for name in others[:_MOST_OPENED]
            if self._tensors(name)
        ]

    def _parts(self, candidate: Candidate) -> list[Candidate]:
        if self.is_one(candidate):
            return [candidate]
        return [
            Candidate(name.removesuffix(candidate.suffix), None, candidate.suffix, (name,))
            for name in candidate.files
        ]

    def _has_weights(self, candidate: Candidate) -> bool:
        """Whether a candidate of an unknown name holds weights, as many a `.bin` does not.

        Only its first file is opened.
        """
        promised = promised_by(candidate.suffix)
        if promised is not None and not promised.ambiguous_suffixes:
            return True
        path = self.store.join(self.directory, candidate.files[0])
        if self.store.kind(path) != "file":
            return False
        with self.store.open(path) as reader:
            return recognise_file(reader) is not None

    def _tensors(self, name: str) -> frozenset[str]:
        """Return the names of the tensors in a file, from its header; none if it is not weights."""
        path = self.store.join(self.directory, name)
        if self.store.kind(path) != "file":
            return frozenset()
        with self.store.open(path) as reader:
            file = read_file(reader, ignore)
        if file is None:
            return frozenset()
        return frozenset(tensor.name for tensor in look(file.tree, path, None).tensors)


def look_at(store: Store, directory: str) -> Survey:
    """List a directory, and read its indexes, one after another, for what they list of it."""
    names = [
        entry.name
        for entry in store.list(directory)
        if "directory" not in (entry.kind, entry.target)
    ]
    alone = sum(parse_index_name(name, all_suffixes()) is not None for name in names) == 1
    only: tuple[str, IndexFile] | None = None

    def listed(name: str) -> set[str] | None:
        nonlocal only
        read = _read_index(store, store.join(directory, name))
        if alone:
            only = (name, read)
        return None if read.index is None else set(shards_of(read.index.weight_map))

    def exists(name: str) -> bool:
        return store.kind(below(store, directory, name)) is not None

    every = candidates(names, listed, exists)
    return Survey(store, directory, names, every, only)


def _read_index(store: Store, path: str) -> IndexFile:
    from shardctl.formats.index import parse_index, too_large  # noqa: PLC0415 - many have no index

    kind = store.kind(path)
    if kind != "file":
        what = "a dangling link" if kind is None else "not a regular file"
        finding = Finding(
            "file-not-regular", "error", f"the index is {what}", "fetch it again", path
        )
        return IndexFile(None, (finding,))
    findings: list[Finding] = []
    with store.open(path) as reader:
        size = reader.version.size
        excess = too_large(size, path)
        if excess is not None:
            return IndexFile(None, (excess,))
        index = parse_index(reader.read(0, size), path, findings.append)
    return IndexFile(index, tuple(findings))
