"""What a check covered, and what it did not: an "ok" says what it is about.

Headers and the index are always compared. The bytes of a tensor are checked where something vouches
for them: a recorded CRC-32 or SHA-256, with all bytes read, or another checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardctl.findings import Finding
from shardctl.model import Tensor
from shardctl.text import escape, plural
from shardctl.verify.digests import Digest
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
    """The comparison with another checkpoint: its name, and the names of the tensors in both."""

    other: str
    tensors: frozenset[str]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was checked, in one line, and what was not."""

    checked: str = ""
    unchecked: tuple[Unchecked, ...] = ()


@dataclass(frozen=True, slots=True)
class _Tensors:
    """The tensors with elements, by what vouches for their bytes; `recorded` have either."""

    by_crc: Sequence[Tensor]
    by_digest: Sequence[Tensor]
    by_nothing: Sequence[Tensor]
    recorded: int


def coverage(
    subjects: Sequence[Subject],
    digests: Sequence[Mapping[str, Sequence[Digest]]],
    compared: Comparison | None,
    *,
    deep: bool,
    load: bool,
) -> Coverage:
    """Return what was checked; `digests` are those recorded for the files of each subject, by path.

    `deep` says that all bytes were read, `load` that every tensor was loaded by upstream.
    """
    held = _vouched(subjects, digests)
    parts = ["structure"]
    if any(subject.checkpoint.index is not None for subject in subjects):
        parts.append("index")
    whole = len(parts)
    if deep and held.by_crc:
        parts.append(f"CRC-32 of {plural(len(held.by_crc), 'tensor')}")
    if deep and held.by_digest:
        files = {tensor.storage.extent.path for tensor in held.by_digest}
        parts.append(f"SHA-256 of {plural(len(files), 'file')}")
    if load:
        loaded = sum(len(subject.checkpoint.tensors) for subject in subjects)
        parts.append(f"{plural(loaded, 'tensor')} as upstream loads them")
    unchecked = tuple(_unchecked(subjects, held, compared, deep=deep))
    checked = _listed(parts)
    if compared is not None:
        what = _listed(["names", "dtypes", "shapes", *(["bytes"] if deep else [])])
        checked += f"; against '{escape(compared.other)}': {what}"
    elif len(parts) == whole:
        reasons = [each.reason for each in unchecked if each.reason in (NOT_RECORDED, NOT_READ)]
        checked += f" only: {reasons[0]}" if reasons else ""
    return Coverage(checked, unchecked)


def unvouched(
    subject: Subject, digests: Mapping[str, Sequence[Digest]], compared: Comparison | None
) -> Iterator[Finding]:
    """Yield the note for a checkpoint of which all bytes were read, and compared with nothing."""
    names = frozenset() if compared is None else compared.tensors
    tensors = [
        tensor for tensor in _vouched([subject], [digests]).by_nothing if tensor.name not in names
    ]
    if tensors:
        yield Finding(
            "content-unchecked",
            "note",
            f"nothing vouches for the bytes of {plural(len(tensors), 'tensor')}: no checksums are "
            "recorded, and another revision has the same headers",
            "compare with another copy (`against`), or record checksums while the files are known "
            "to be right (`checksums`)",
            file=subject.located.root,
        )


def _vouched(
    subjects: Sequence[Subject], digests: Sequence[Mapping[str, Sequence[Digest]]]
) -> _Tensors:
    by_crc, by_digest, by_nothing = list[Tensor](), list[Tensor](), list[Tensor]()
    number = 0
    for subject, recorded in zip(subjects, digests, strict=True):
        for tensor in subject.checkpoint.tensors:
            if not tensor.nbytes:
                continue
            number += 1
            if tensor.storage.crc32 is not None:
                by_crc.append(tensor)
            if recorded.get(tensor.storage.extent.path):
                by_digest.append(tensor)
            elif tensor.storage.crc32 is None:
                by_nothing.append(tensor)
    return _Tensors(by_crc, by_digest, by_nothing, number - len(by_nothing))


def _unchecked(
    subjects: Sequence[Subject], held: _Tensors, compared: Comparison | None, *, deep: bool
) -> Iterator[Unchecked]:
    names = frozenset() if compared is None or not deep else compared.tensors
    rest = [tensor for tensor in held.by_nothing if tensor.name not in names]
    if rest:
        yield Unchecked(f"the bytes of {plural(len(rest), 'tensor')}", NOT_RECORDED)
    if not deep:
        if held.recorded:
            yield Unchecked(f"the bytes of {plural(held.recorded, 'tensor')}", NOT_READ)
        if compared is not None and compared.tensors:
            what = f"the bytes of {plural(len(compared.tensors), 'tensor')} against"
            yield Unchecked(f"{what} '{escape(compared.other)}'", _NOT_COMPARED)
    for subject in subjects:
        yield from _unread(subject)


def _unread(subject: Subject) -> Iterator[Unchecked]:
    checkpoint = subject.checkpoint
    kinds = [value for value in checkpoint.non_tensors if value.unread]
    if kinds:
        what = f"{plural(len(kinds), 'tensor')}, the first is '{escape(kinds[0].name)}'"
        yield Unchecked(what, "of kinds that shardctl does not read")
    if checkpoint.incomplete:
        first = escape(min(checkpoint.incomplete))
        what = f"tensors of {plural(len(checkpoint.incomplete), 'file')}, the first is '{first}'"
        yield Unchecked(what, "missing, or not read whole")


def _listed(parts: Sequence[str]) -> str:
    """Return a list in words, for example `structure, index and CRC-32 of 200 tensors`."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
