"""All of `verify`: find what SOURCE means, read it as far as it goes, and run every check on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from shardctl.engine.found import find_checkpoint
from shardctl.errors import UsageError
from shardctl.findings import Capped, Finding, Report, report_all
from shardctl.model import Tensor
from shardctl.planning.request import UNCHANGED, Transform
from shardctl.planning.transform.compared import transformed
from shardctl.source.opened import Opened, unseen
from shardctl.source.state_dict import NotNestedError
from shardctl.storages import named_tensors
from shardctl.stores.base import Store
from shardctl.streams.progress import Observer, Ticks
from shardctl.verify.against import Compared, MayHold, alike, compare_headers
from shardctl.verify.checks import CHECKS
from shardctl.verify.coverage import Comparison, Coverage, coverage, unvouched, vouched
from shardctl.verify.deep import DeepRead, Digests, check_deep
from shardctl.verify.strided import compare_strided
from shardctl.verify.subject import Subject, find_subjects, read_subject
from shardctl.verify.twins import Other, Pairs, sort_pairs
from shardctl.verify.zeros import hole

Depth = Literal["headers", "deep"]


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How far to look.

    `against` names another checkpoint, of which `transform` makes what a writer would; `strict`
    lets warnings count as errors; `digests` asks for the SHA-256 of each tensor that was found
    equal. `variant` chooses one of several checkpoints in a directory.
    """

    deep: bool = False
    load: bool = False
    against: str | None = None
    transform: Transform = UNCHANGED
    strict: bool = False
    key: str | None = None
    variant: str | None = None
    jobs: int = 2
    digests: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for a transform of nothing."""
        if self.transform and self.against is None:
            raise UsageError(
                "what is chosen, renamed or converted is of another checkpoint, and there is none",
                hint="add `against`, or leave these options out",
            )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    `failing` are the severities of findings that make the check fail. `bytes` were read beyond the
    headers; `digests` are those of the tensors that were found equal.
    `coverage` says what was checked, and what was not. `components` has the verdict on each
    component of a pipeline by its name; this one is then on all of it, but for the digests.
    """

    findings: tuple[Finding, ...]
    ok: bool
    depth: Depth
    files: int
    tensors: int
    bytes: int
    digests: Mapping[str, str] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)
    failing: Collection[str] = ("error",)
    components: tuple[tuple[str, Verdict], ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The number of findings by severity, with those that are not given one by one."""
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
    left_out: int

    @property
    def comparison(self) -> Comparison:
        """What of it is compared."""
        names = frozenset(tensor.name for tensor, _ in self.pairs)
        return Comparison(self.name, names, self.left_out)


def verify(
    store: Store,
    source: str,
    how: Thoroughness,
    observe: Observer | None = None,
    other: Store | None = None,
    opened: Opened = unseen,
) -> Verdict:
    """Find everything that is wrong with a checkpoint.

    `observe` gets the bytes that are read beyond the headers; `opened` is called for each file
    whose header is read. `other` is the store of `how.against`; by default it is the same. Raises
    MissingError where there is no checkpoint, UsageError for a key with two meanings, and what
    `transformed` raises. Of each code and severity the first hundred findings are given one by one.
    """
    findings: list[Finding] = []
    report = Capped(findings.append)
    subjects, key = _subjects(store, source, how, report, opened)
    for subject in subjects:
        for check in CHECKS:
            report_all(check(subject), report)
        if not how.deep:  # which looks for them itself, where no checksum vouches for the bytes
            report_all(_holes(subject), report)
    opposed = None
    if how.against and subjects:
        opposed = _oppose(
            other or store, subjects[0], how.against, how, opened, report, either=key is not None
        )
    nbytes = 0
    digests: dict[str, str] = {}
    recorded = [subject.digests for subject in subjects]
    comparison = None if opposed is None else opposed.comparison
    if how.deep:
        look = _DeepLook(how, observe, report, digests)
        nbytes += look.at(subjects, recorded, opposed)
    held = [vouched(subject, sums) for subject, sums in zip(subjects, recorded, strict=True)]
    if how.deep and not any(finding.severity == "error" for finding in findings):
        for each in held:
            report_all(unvouched(each, comparison), report)
    for subject in subjects if how.load else ():
        for read, found in _load(subject, key):
            nbytes += read
            report_all(found, report)
    report.close()
    findings = _safely_advised(findings, subjects)
    worst = {finding.severity for finding in findings}
    failing = {"error", "warning"} if how.strict else {"error"}
    return Verdict(
        findings=tuple(sorted(dict.fromkeys(findings), key=lambda finding: RANK[finding.severity])),
        ok=worst.isdisjoint(failing),
        depth="deep" if how.deep else "headers",
        files=sum(len(subject.checkpoint.files) for subject in subjects),
        tensors=sum(len(subject.checkpoint.tensors) for subject in subjects),
        bytes=nbytes,
        digests=digests,
        coverage=coverage(held, comparison, deep=how.deep, load=how.load),
        failing=failing,
    )


def _subjects(
    store: Store, source: str, how: Thoroughness, report: Report, opened: Opened
) -> tuple[list[Subject], str | None]:
    """Return what is checked, and the key that counts for it.

    One that is not nested has none, and is compared with what the key chooses of the other.
    """
    try:
        return find_subjects(store, source, how.key, report, opened, how.variant), how.key
    except NotNestedError:
        if how.against is None:
            raise
    return find_subjects(store, source, None, report, opened, how.variant), None


def _safely_advised(findings: list[Finding], subjects: Sequence[Subject]) -> list[Finding]:
    """Return the findings; of a set with parts missing none advises to write its index."""
    broken = any(subject.checkpoint.incomplete for subject in subjects)
    if not broken and _SET_BREAKING.isdisjoint(finding.code for finding in findings):
        return findings
    return [
        replace(finding, hint=_COMPLETE_FIRST) if _WRITE_INDEX in finding.hint else finding
        for finding in findings
    ]


def _oppose(
    store: Store,
    subject: Subject,
    other: str,
    how: Thoroughness,
    opened: Opened,
    report: Report,
    *,
    either: bool,
) -> _Opposed:
    """Read the other checkpoint from its store, and compare the headers.

    `either`: the key led somewhere in the first one, so this one need not be nested.
    """
    located = find_checkpoint(store, other, whole_set=False)
    try:
        opposite = read_subject(store, located, how.key, report, opened)
    except NotNestedError:
        if not either:
            raise
        opposite = read_subject(store, located, None, report, opened)
    chosen = transformed(opposite.checkpoint, how.transform)
    theirs, ours = named_tensors(chosen.checkpoint), named_tensors(subject.checkpoint)
    # Under new names the index no longer says in which file a tensor may be.
    incomplete = bool(opposite.checkpoint.incomplete)
    lost_there: MayHold = (lambda _: incomplete) if how.transform else opposite.may_hold()
    report_all(compare_headers(ours, theirs, other, (subject.may_hold(), lost_there)), report)
    return _Opposed(store, other, alike(ours, theirs), len(chosen.left_out))


@dataclass(slots=True)
class _DeepLook:
    """Reads all the bytes, and shows progress. Adds to `digests`."""

    how: Thoroughness
    observe: Observer | None
    report: Report
    digests: dict[str, str]
    ticks: Ticks = field(default_factory=Ticks)

    def at(
        self, subjects: Sequence[Subject], recorded: Sequence[Digests], opposed: _Opposed | None
    ) -> int:
        """Read the files, and what they are compared with; return the bytes read."""
        pairs = sort_pairs(() if opposed is None else opposed.pairs)
        # Only the first is compared: of a directory with several checkpoints that is the error.
        reads = [
            DeepRead(subject, digests, pairs.twins if subject is subjects[0] else {})
            for subject, digests in zip(subjects, recorded, strict=True)
        ]
        files = {name: nbytes for read in reads for name, nbytes in read.files.items()}
        if opposed is not None:
            files[opposed.name] = pairs.nbytes
        if self.observe is not None:
            self.observe.start(sum(files.values()), files)
        try:
            return self._at(reads, pairs, opposed)
        finally:
            self.ticks.cancel()

    def _at(self, reads: Sequence[DeepRead], pairs: Pairs, opposed: _Opposed | None) -> int:
        nbytes = others = 0
        other = None if opposed is None else self._other(opposed)
        for read in reads:
            for done in check_deep(read, other, self.how.jobs, self.ticks.of, self._meanwhile):
                report_all(done.findings, self.report)
                others += self._add(done.compared)
                self._finished(done.name, done.nbytes)
                nbytes += done.nbytes
        if other is not None:
            store = reads[0].subject.store
            others += self._add(
                compare_strided(store, pairs.rest, other, self.how.jobs, self._meanwhile)
            )
            self._finished(other.name, others)
        return nbytes + others

    def _other(self, opposed: _Opposed) -> Other:
        tick = self.ticks.of(opposed.name)
        return Other(opposed.store, opposed.name, self.how.digests, tick)

    def _add(self, compared: Iterable[Compared]) -> int:
        """Add the findings and digests; return the bytes that were read to compare."""
        nbytes = 0
        for each in compared:
            report_all(each.findings, self.report)
            nbytes += each.nbytes
            if each.sha256 is not None:
                self.digests[each.name] = each.sha256
        return nbytes

    def _meanwhile(self) -> None:
        if self.observe is not None:
            self.ticks.drain(self.observe.advance)

    def _finished(self, name: str, nbytes: int) -> None:
        self._meanwhile()
        if self.observe is not None:
            self.observe.finished(name, nbytes, kept=False)


def _holes(subject: Subject) -> Iterator[Finding]:
    tensors = subject.tensors
    for file in subject.checkpoint.files:
        found = hole(subject.store, file, tensors[file.path])
        if found is not None:
            yield found


def _load(subject: Subject, key: str | None) -> Iterator[tuple[int, list[Finding]]]:
    from shardctl.verify.upstream import check_load  # noqa: PLC0415 - the only way to torch

    return check_load(subject, key)


#: What says that tensors of a set are not there, besides files that cannot be read whole.
_SET_BREAKING = {"shard-set-incomplete", "no-tensors"}
#: How hints name the function that writes an index from what is there.
_WRITE_INDEX = "`reindex`"
_COMPLETE_FIRST = (
    "fetch what is missing or damaged first: an index that is written from the rest would leave "
    "out tensors"
)
#: The order of severities, the worst first.
RANK = {"error": 0, "warning": 1, "note": 2}
