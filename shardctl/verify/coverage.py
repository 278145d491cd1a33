"""What a check covered, and what it did not: an "ok" says what it is about.

Headers and the index are always compared. The bytes of a tensor are checked where something vouches
for them: a recorded CRC-32 or SHA-256, with all bytes read, or another checkpoint.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardctl.columns import Tensors
from shardctl.findings import Finding
from shardctl.model import Checkpoint
from shardctl.source.distributed.assemble import slices_of
from shardctl.source.recorded.digests import Digest
from shardctl.storages import sources_of
from shardctl.text import escape, plural
from shardctl.verify.subject import Subject

#: Why bytes are not checked, and what would check them.
NOT_RECORDED = "no checksums recorded (compare with `against`, or write `checksums`)"
NOT_READ = "bytes not read (add `deep`)"
_NOT_COMPARED = "only names, dtypes and shapes were compared (add `deep`)"


@dataclass(frozen=True, slots=True)
class Unchecked:
    """What was not checked, and why, in words."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison with another checkpoint: its name, and the names of the tensors in both.

    `left_out` is how many of its tensors the selection leaves out.
    """

    other: str
    tensors: frozenset[str]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was checked, in one line, and what was not."""

    checked: str = ""
    unchecked: tuple[Unchecked, ...] = ()


@dataclass(frozen=True, slots=True)
class Vouched:
    """The tensors with elements of one checkpoint, by what vouches for their bytes.

    `by_crc` is how many have a recorded CRC-32, `digested` are the paths of the files with tensors
    and a recorded SHA-256, `recorded` is how many have either, and `by_nothing` are the names of
    those that have neither.
    """

    subject: Subject
    by_crc: int
    digested: frozenset[str]
    recorded: int
    by_nothing: Sequence[str]

    def uncompared(self, names: Container[str]) -> int:
        """Return how many have nothing that vouches for them, but for these names."""
        return sum(name not in names for name in self.by_nothing)


def vouched(subject: Subject, digests: Mapping[str, Sequence[Digest]]) -> Vouched:
    """Return what vouches for a checkpoint; `digests` are those recorded for its files, by path."""
    by_crc = recorded = 0
    digested = set[str]()
    by_nothing = list[str]()
    tensors = subject.checkpoint.tensors
    if isinstance(tensors, Tensors):  # for which no CRC-32 is recorded
        for part in tensors.parts:
            names = [name for name, form in zip(part.names, part.forms, strict=True) if form.nbytes]
            if not digests.get(part.path):
                by_nothing += names
            elif names:
                digested.add(part.path)
                recorded += len(names)
        return Vouched(subject, 0, frozenset(digested), recorded, by_nothing)
    for tensor in tensors:
        if 0 in tensor.shape:
            continue
        has_crc = has_digest = True
        paths = []
        # Plain tensors, of which there may be millions, are their own source.
        for each in (tensor,) if tensor.storage.made is None else sources_of(tensor):
            path = each.storage.extent.path
            has_crc = has_crc and each.storage.recorded.crc32 is not None
            has_digest = has_digest and bool(digests.get(path))
            paths.append(path)
        by_crc += has_crc
        if has_digest:
            digested.update(paths)
        if has_crc or has_digest:
            recorded += 1
        else:
            by_nothing.append(tensor.name)
    return Vouched(subject, by_crc, frozenset(digested), recorded, by_nothing)


def coverage(
    held: Sequence[Vouched], compared: Comparison | None, *, deep: bool, load: bool
) -> Coverage:
    """Return what was checked of some checkpoints.

    `deep` says that all bytes were read, `load` that every tensor was loaded by upstream.
    """
    if not held:
        return Coverage("nothing")
    checkpoints = [each.subject.checkpoint for each in held]
    parts = ["structure"]
    if any(checkpoint.index is not None for checkpoint in checkpoints):
        parts.append("index")
    parts.extend(_cover(each.subject) for each in held if each.subject.located.distributed)
    whole = len(parts)
    by_crc = sum(each.by_crc for each in held)
    digested = frozenset[str]().union(*(each.digested for each in held))
    if deep and by_crc:
        parts.append(f"CRC-32 of {plural(by_crc, 'tensor')}")
    if deep and digested:
        parts.append(f"SHA-256 of {plural(len(digested), 'file')}")
    if load:
        loaded = sum(len(checkpoint.tensors) for checkpoint in checkpoints)
        parts.append(f"{plural(loaded, 'tensor')} as upstream loads them")
    unchecked = tuple(_unchecked(held, compared, deep=deep))
    checked = _listed(parts)
    if compared is not None:
        what = _listed(["names", "dtypes", "shapes", *(["bytes"] if deep else [])])
        checked += f"; against '{escape(compared.other)}': {what}"
    elif len(parts) == whole:
        reasons = [each.reason for each in unchecked if each.reason in (NOT_RECORDED, NOT_READ)]
        checked += f" only: {reasons[0]}" if reasons else ""
    return Coverage(checked, unchecked)


def _cover(subject: Subject) -> str:
    """Return in words that slices cover the tensors: those that they do not cover were left out."""
    slices = slices_of(subject.checkpoint.tensors)
    return f"the cover of {plural(slices.tensors, 'tensor')} by {plural(slices.number, 'slice')}"


def unvouched(held: Vouched, compared: Comparison | None) -> Iterator[Finding]:
    """Yield the note for a checkpoint of which all bytes were read, and compared with nothing."""
    tensors = held.uncompared(() if compared is None else compared.tensors)
    if tensors:
        yield Finding(
            "content-unchecked",
            "note",
            f"nothing vouches for the bytes of {plural(tensors, 'tensor')}: no checksums are "
            "recorded, and another revision has the same headers",
            "compare with another copy (`against`), or record checksums while the files are known "
            "to be right (`checksums`)",
            file=held.subject.located.root,
        )


def _unchecked(
    held: Sequence[Vouched], compared: Comparison | None, *, deep: bool
) -> Iterator[Unchecked]:
    names = () if compared is None or not deep else compared.tensors
    rest = sum(each.uncompared(names) for each in held)
    if rest:
        yield Unchecked(f"the bytes of {plural(rest, 'tensor')}", NOT_RECORDED)
    if not deep:
        recorded = sum(each.recorded for each in held)
        if recorded:
            yield Unchecked(f"the bytes of {plural(recorded, 'tensor')}", NOT_READ)
        if compared is not None and compared.tensors:
            what = f"the bytes of {plural(len(compared.tensors), 'tensor')} against"
            yield Unchecked(f"{what} '{escape(compared.other)}'", _NOT_COMPARED)
    if compared is not None and compared.left_out:
        what = f"{plural(compared.left_out, 'tensor')} of '{escape(compared.other)}'"
        yield Unchecked(what, "left out by the selection")
    for each in held:
        if each.subject.located.distributed == "slices":
            reason = "neither names nor contents say how many there are"
            yield Unchecked("whether the last files are missing", reason)
        if each.subject.located.distributed:
            files = slices_of(each.subject.checkpoint.tensors).files
            if files > 1:
                reason = "not all of them say of which they are"
                yield Unchecked(f"whether the {files:,} files are of one save", reason)
    yield from _unread([each.subject.checkpoint for each in held])


def _unread(checkpoints: Sequence[Checkpoint]) -> Iterator[Unchecked]:
    """Yield what could not be read, summed up: a directory can hold any number of checkpoints."""
    kinds = [value for each in checkpoints for value in each.non_tensors if value.unread]
    if kinds:
        what = f"{plural(len(kinds), 'tensor')}, the first is '{escape(kinds[0].name)}'"
        yield Unchecked(what, "of kinds that shardctl does not read")
    incomplete = {path for each in checkpoints for path in each.incomplete}
    if incomplete:
        first = escape(min(incomplete))
        what = f"tensors of {plural(len(incomplete), 'file')}, the first is '{first}'"
        yield Unchecked(what, "missing, or not read whole")


def _listed(parts: Sequence[str]) -> str:
    """Return a list in words, for example `structure, index and CRC-32 of 200 tensors`."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
