"""Which files SOURCE means: a file, an index, or the one checkpoint in a directory.

Ambiguity is an error that lists the choices, because loaders differ in what they would take. Names
decide what belongs together (`candidates`); indexes are read for what they list; no weights file is
opened but those of unknown names, to see whether they are weights at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardctl.errors import InputError, MissingError, UsageError
from shardctl.findings import Finding
from shardctl.formats.detection import recognise_file
from shardctl.formats.index import parse_index, too_large
from shardctl.formats.registry import all_suffixes, promised_by, writable
from shardctl.model import Index
from shardctl.naming import parse_index_name, parse_weights_name
from shardctl.source.candidates import Candidate, candidates
from shardctl.source.sets import incomplete, set_findings
from shardctl.stores.base import Store
from shardctl.text import escape

_SHOWN_CHOICES = 10


@dataclass(frozen=True, slots=True)
class Located:
    """The files that SOURCE means, before any header was read.

    `root` is SOURCE as given; `files` are the paths of the weights, in order, also of those that
    are missing; `unlisted` are paths that look like shards of the set and are not listed by its
    index. `findings` came up on the way and are reported when the checkpoint is read; `notes` are
    for the user to know before that.
    """

    root: str
    directory: str
    files: tuple[str, ...]
    stem: str
    variant: str | None = None
    suffix: str = ""
    is_set: bool = False
    is_directory: bool = False
    index_path: str | None = None
    index: Index | None = None
    unlisted: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def format(self) -> str:
        """The name of the format that the files' suffix promises; empty where it promises none."""
        promised = promised_by(self.suffix)
        return "" if promised is None else promised.name

    def names(self, store: Store) -> dict[str, str]:
        """Return by path the names of the files, as the index lists them (also `sub/a`)."""
        listed = () if self.index is None else dict.fromkeys(self.index.weight_map.values())
        return {path: store.split(path)[1] for path in (*self.files, *self.unlisted)} | {
            store.join(self.directory, *name.split("/")): name for name in listed
        }


@dataclass(frozen=True, slots=True)
class _IndexFile:
    """An index that was read: None for one that is unusable, and what was found wrong with it."""

    index: Index | None
    findings: tuple[Finding, ...]


def find_source(store: Store, source: str, *, whole_set: bool = True) -> Located:
    """Return the files that `source` means.

    A file of a set means the whole set, unless `whole_set` is false. Raises UsageError where a
    directory has several checkpoints, MissingError where the path or a checkpoint does not exist,
    and InputError (`shard-set-incomplete`, `shard-unlisted`) where the set of a named file cannot
    be taken whole.
    """
    kind = store.kind(source)
    if kind is None:
        raise MissingError(
            f"'{escape(source)}' does not exist",
            hint="check the path; download a model from the hub first; a link may be dangling",
            file=source,
        )
    if kind == "directory":
        return _in_directory(store, source)
    directory, name = store.split(source)
    if name.endswith(".json"):
        return _of_index(store, source, directory, name)
    return (
        _of_file(store, source, directory, name) if whole_set else _alone(source, directory, name)
    )


def directory_checkpoints(store: Store, directory: str) -> list[Candidate]:
    """Return the checkpoints that a directory could mean; none where it does not exist.

    Files that loaders know by name, and indexes; only without these, whatever else has weights
    in it.
    """
    return _survey(store, directory)[0] if store.kind(directory) == "directory" else []


def _survey(store: Store, directory: str) -> tuple[list[Candidate], dict[str, _IndexFile]]:
    """Return the checkpoints in a directory, and its indexes by name."""
    every, indexes = _all_candidates(store, directory)
    known = [candidate for candidate in every if candidate.known]
    return known or [
        candidate for candidate in every if _has_weights(store, directory, candidate)
    ], indexes


def _all_candidates(store: Store, directory: str) -> tuple[list[Candidate], dict[str, _IndexFile]]:
    names = [
        entry.name
        for entry in store.list(directory)
        if "directory" not in (entry.kind, entry.target)
    ]
    indexes = {
        name: _read_index(store, store.join(directory, name))
        for name in names
        if parse_index_name(name, all_suffixes())
    }
    listed = {
        name: set(read.index.weight_map.values())
        for name, read in indexes.items()
        if read.index is not None
    }
    return candidates(names, listed), indexes


def _has_weights(store: Store, directory: str, candidate: Candidate) -> bool:
    """Whether a candidate of an unknown name holds weights, as many a `.bin` does not.

    Only its first file is opened.
    """
    promised = promised_by(candidate.suffix)
    if promised is not None and not promised.ambiguous_suffixes:
        return True
    path = store.join(directory, candidate.files[0])
    if store.kind(path) != "file":
        return False
    with store.open(path) as reader:
        return recognise_file(reader) is not None


def _read_index(store: Store, path: str) -> _IndexFile:
    kind = store.kind(path)
    if kind != "file":
        what = "a dangling link" if kind is None else "not a regular file"
        finding = Finding(
            "file-not-regular", "error", f"the index is {what}", "fetch it again", path
        )
        return _IndexFile(None, (finding,))
    findings: list[Finding] = []
    with store.open(path) as reader:
        size = reader.version.size
        excess = too_large(size, path)
        if excess is not None:
            return _IndexFile(None, (excess,))
        index = parse_index(reader.read(0, size), path, findings.append)
    return _IndexFile(index, tuple(findings))


def _in_directory(store: Store, directory: str) -> Located:
    found, indexes = _survey(store, directory)
    if not found:
        raise _nothing_in(store, directory)
    if len(found) > 1:
        raise _ambiguous(store, directory, found)
    return _of_candidate(store, directory, directory, found[0], indexes, is_directory=True)


def _of_index(store: Store, source: str, directory: str, name: str) -> Located:
    every, indexes = _all_candidates(store, directory)
    candidate = next((candidate for candidate in every if candidate.index == name), None)
    if candidate is None:
        # No loader would take the name for that of an index, so only what it lists counts.
        candidate, indexes = (
            Candidate("model", None, "", (), name),
            {name: _read_index(store, source)},
        )
    return _of_candidate(store, source, directory, candidate, indexes)


def _of_file(store: Store, source: str, directory: str, name: str) -> Located:
    every, indexes = _all_candidates(store, directory)
    homes = [candidate for candidate in every if candidate.is_set and name in candidate.names]
    if not homes:
        return _alone(source, directory, name)
    if len(homes) > 1:
        raise _ambiguous(store, directory, homes)
    home = homes[0]
    if name in home.unlisted:
        raise InputError(
            f"'{escape(name)}' is numbered like the shards of '{escape(home.choice)}', which does "
            "not list it",
            hint="repair the index with `reindex`, or copy the file to another directory to use it "
            "alone",
            code="shard-unlisted",
            file=source,
        )
    located = _of_candidate(store, source, directory, home, indexes)
    if home.missing:
        finding = incomplete(home, source)
        raise InputError(finding.message, hint=finding.hint, code=finding.code, file=source)
    if len(located.files) == 1:
        return located
    note = (
        f"'{escape(name)}' is one of {len(located.files):,} files that belong together; all of "
        "them are read"
    )
    return replace(located, notes=(note,))


def _alone(source: str, directory: str, name: str) -> Located:
    parsed = parse_weights_name(name, all_suffixes())
    if parsed is None:
        return Located(source, directory, (source,), name)
    return Located(source, directory, (source,), parsed.stem, parsed.variant, parsed.suffix)


def _of_candidate(
    store: Store,
    source: str,
    directory: str,
    candidate: Candidate,
    indexes: dict[str, _IndexFile],
    *,
    is_directory: bool = False,
) -> Located:
    read = _IndexFile(None, ()) if candidate.index is None else indexes[candidate.index]
    names: Sequence[str] = (
        candidate.files if read.index is None else sorted(set(read.index.weight_map.values()))
    )
    unlisted = tuple(store.join(directory, name) for name in candidate.unlisted)
    return Located(
        root=source,
        directory=directory,
        files=tuple(store.join(directory, *name.split("/")) for name in names),
        stem=candidate.stem,
        variant=candidate.variant,
        suffix=candidate.suffix,
        is_set=candidate.is_set,
        is_directory=is_directory,
        index_path=None if candidate.index is None else store.join(directory, candidate.index),
        index=read.index,
        unlisted=unlisted,
        findings=(
            *read.findings,
            *set_findings(candidate, store.join(directory, candidate.choice), unlisted),
        ),
    )


def _ambiguous(store: Store, directory: str, found: Sequence[Candidate]) -> UsageError:
    choices = "; ".join(
        escape(store.join(directory, candidate.choice)) for candidate in found[:_SHOWN_CHOICES]
    )
    more = "; …" if len(found) > _SHOWN_CHOICES else ""
    titles = ", ".join(candidate.title for candidate in found[:_SHOWN_CHOICES])
    return UsageError(
        f"'{escape(directory)}' holds {len(found):,} checkpoints, and loaders differ in which they "
        f"take: {titles}",
        hint=f"name one of them: {choices}{more}",
        code="folder-ambiguous",
        file=directory,
    )


def _nothing_in(store: Store, directory: str) -> MissingError:
    inner = [
        entry.name for entry in store.list(directory) if "directory" in (entry.kind, entry.target)
    ]
    usual = ", ".join(f"{known.default_stem}{known.suffix}" for known in writable())
    hint = f"name a directory with {usual} or an index, or the weights file itself"
    if inner:
        hint += f"; it has these directories: {', '.join(map(escape, inner[:_SHOWN_CHOICES]))}"
    return MissingError(f"'{escape(directory)}' holds no checkpoint", hint=hint, file=directory)
