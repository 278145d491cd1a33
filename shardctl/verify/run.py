"""All of `verify`: find what SOURCE means, read it as far as it goes, and run every check on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shardctl.errors import InputError, MissingError, UsageError
from shardctl.findings import Capped, Finding, Report, as_finding
from shardctl.model import Checkpoint, Tensor
from shardctl.source.candidates import Candidate
from shardctl.source.loaders import loader_choices
from shardctl.source.locate import Located, each_checkpoint, find_source
from shardctl.source.read import Opened, read_checkpoint, unseen
from shardctl.stores.base import Store
from shardctl.streams.progress import Observer, Ticks
from shardctl.verify.against import (
    Comparing,
    alike,
    compare_data,
    compare_headers,
    compared_parts,
    named_tensors,
)
from shardctl.verify.checks import CHECKS
from shardctl.verify.deep import check_deep, deep_bytes
from shardctl.verify.subject import Subject

Depth = Literal["headers", "deep"]


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How far to look.

    `against` names another checkpoint; `strict` lets warnings count as errors; `digests` asks for
    the SHA-256 of each tensor that was found equal.
    """

    deep: bool = False
    load: bool = False
    against: str | None = None
    strict: bool = False
    key: str | None = None
    jobs: int = 2
    digests: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    `bytes` were read beyond the headers; `digests` are those of the tensors that were found equal.
    """

    findings: tuple[Finding, ...]
    ok: bool
    depth: Depth
    files: int
    tensors: int
    bytes: int
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Findings by severity, those that are not told one by one too."""
        counted = Counter[str]()
        for finding in self.findings:
            counted[finding.severity] += finding.count
        return {severity: counted[severity] for severity in ("error", "warning", "note")}


@dataclass(frozen=True, slots=True)
class _Opposed:
    """The other checkpoint, and the tensors whose bytes can be compared."""

    store: Store
    name: str
    pairs: list[tuple[Tensor, Tensor]]


def verify(
    store: Store,
    source: str,
    how: Thoroughness,
    observe: Observer | None = None,
    other: Store | None = None,
    opened: Opened = unseen,
) -> Verdict:
    """Find everything that is wrong with a checkpoint.

    `observe` is shown how many bytes are read beyond the headers; `opened` is called for each file
    whose header is read. `other` is the store of `how.against`; by default it is the same. Raises MissingError where there is nothing to look at,
    UsageError for a key with two meanings. Of each code and severity a hundred findings are told
    one by one.
    """
    findings: list[Finding] = []
    report = Capped(findings.append)
    subjects = [
        Subject(store, located, _read(store, located, report, how.key, opened))
        for located in _locate(store, source, report)
    ]
    for subject in subjects:
        for check in CHECKS:
            _tell(report, check(subject))
    opposed = None
    if how.against and subjects:
        opposed = _oppose(
            other or store, subjects[0].checkpoint, how.against, how.key, opened, report
        )
    nbytes = 0
    digests: dict[str, str] = {}
    if how.deep:
        look = _DeepLook(how, observe, report, digests)
        nbytes += look.at(subjects, opposed)
    for subject in subjects if how.load else ():
        for read, found in _load(store, subject, how.key):
            nbytes += read
            _tell(report, found)
    report.close()
    worst = {finding.severity for finding in findings}
    return Verdict(
        findings=tuple(
            sorted(dict.fromkeys(findings), key=lambda finding: _RANK[finding.severity])
        ),
        ok="error" not in worst and not (how.strict and "warning" in worst),
        depth="deep" if how.deep else "headers",
        files=sum(len(subject.checkpoint.files) for subject in subjects),
        tensors=sum(len(subject.checkpoint.tensors) for subject in subjects),
        bytes=nbytes,
        digests=digests,
    )


def _tell(report: Report, findings: Iterable[Finding]) -> None:
    for finding in findings:
        report(finding)


def _oppose(
    store: Store,
    checkpoint: Checkpoint,
    other: str,
    key: str | None,
    opened: Opened,
    report: Report,
) -> _Opposed:
    """Read the other checkpoint from its store, and compare the headers."""
    located = find_source(store, other, whole_set=False)
    theirs = named_tensors(_read(store, located, report, key, opened))
    ours = named_tensors(checkpoint)
    _tell(report, compare_headers(ours, theirs, other))
    return _Opposed(store, other, alike(ours, theirs))


@dataclass(slots=True)
class _DeepLook:
    """Reads all the bytes, and shows progress. Adds to `digests`."""

    how: Thoroughness
    observe: Observer | None
    report: Report
    digests: dict[str, str]
    ticks: Ticks = field(default_factory=Ticks)

    def at(self, subjects: Sequence[Subject], opposed: _Opposed | None) -> int:
        """Read the files, and then what they are compared with; return the bytes read."""
        files = {
            name: nbytes for subject in subjects for name, nbytes in deep_bytes(subject).items()
        }
        if opposed is not None:
            files[opposed.name] = sum(
                2 * compared_parts(tensor, twin)[0].nbytes for tensor, twin in opposed.pairs
            )
        if self.observe is not None:
            self.observe.start(sum(files.values()), files)
        try:
            nbytes = sum(self._at_files(subject) for subject in subjects)
            return nbytes + (0 if opposed is None else self._at_tensors(subjects[0], opposed))
        finally:
            self.ticks.cancel()

    def _at_files(self, subject: Subject) -> int:
        nbytes = 0
        for name, read, found in check_deep(subject, self.how.jobs, self.ticks.of, self._meanwhile):
            _tell(self.report, found)
            self._finished(name, read)
            nbytes += read
        return nbytes

    def _at_tensors(self, subject: Subject, opposed: _Opposed) -> int:
        how = Comparing(
            subject.store,
            opposed.store,
            self.how.jobs,
            self.how.digests,
            self.ticks.of(opposed.name),
        )
        nbytes = 0
        for compared in compare_data(opposed.pairs, opposed.name, how, self._meanwhile):
            _tell(self.report, compared.findings)
            nbytes += compared.nbytes
            if compared.sha256 is not None:
                self.digests[compared.name] = compared.sha256
        self._finished(opposed.name, nbytes)
        return nbytes

    def _meanwhile(self) -> None:
        if self.observe is not None:
            self.ticks.drain(self.observe.advance)

    def _finished(self, name: str, nbytes: int) -> None:
        self._meanwhile()
        if self.observe is not None:
            self.observe.finished(name, nbytes, kept=False)


def _load(store: Store, subject: Subject, key: str | None) -> Iterator[tuple[int, list[Finding]]]:
    from shardctl.verify.upstream import check_load  # noqa: PLC0415 - the only way to torch

    return check_load(store, subject.checkpoint, key)


_RANK = {"error": 0, "warning": 1, "note": 2}


def _locate(store: Store, source: str, report: Report) -> Iterator[Located]:
    """Yield what SOURCE means; of an ambiguous directory, each of its checkpoints in turn."""
    try:
        yield find_source(store, source, whole_set=False)
    except UsageError as error:
        if error.code != "folder-ambiguous":
            raise
        choices, each = each_checkpoint(store, source)
        report(_ambiguous(error, choices))
        yield from each


def _read(
    store: Store, located: Located, report: Report, key: str | None, opened: Opened
) -> Checkpoint:
    try:
        return read_checkpoint(
            store,
            located,
            report,
            key,
            drop_non_tensors=True,
            nested=True,
            opened=opened,
        )
    except (MissingError, UsageError):
        raise
    except InputError as error:
        report(as_finding(error))
        return Checkpoint(located.format, (), ())


def _ambiguous(error: UsageError, choices: list[Candidate]) -> Finding:
    taken = "; ".join(
        f"{loader} loads {choice}" for loader, choice in loader_choices(choices).items()
    )
    return Finding(
        "folder-ambiguous", "error", f"{error.message}: {taken}", error.hint, file=error.file
    )
