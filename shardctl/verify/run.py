"""The whole of `verify`: find what SOURCE means, read it as far as it goes, and put every check to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from shardctl.discover import Candidate, Located, find_source, folder_checkpoints, read_checkpoint
from shardctl.errors import InputError, MissingError, ShardctlError, UsageError
from shardctl.model import Checkpoint, Finding
from shardctl.stores.base import Store
from shardctl.verify.against import compare_data, compare_headers, named_tensors
from shardctl.verify.checks import CHECKS
from shardctl.verify.deep import check_deep
from shardctl.verify.subject import Subject

Depth = Literal["headers", "deep"]


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How far to look. `against` names another checkpoint; `strict` lets warnings count as errors."""

    deep: bool = False
    load: bool = False
    against: str | None = None
    strict: bool = False
    key: str | None = None
    jobs: int = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `bytes` were read beyond the headers; `digests` are those of tensors proved equal."""

    findings: tuple[Finding, ...]
    ok: bool
    depth: Depth
    files: int
    tensors: int
    bytes: int
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Findings by severity."""
        counted = Counter(finding.severity for finding in self.findings)
        return {severity: counted[severity] for severity in ("error", "warning", "note")}


def verify(store: Store, source: str, how: Thoroughness) -> Verdict:
    """Everything that is wrong with a checkpoint.

    Raises MissingError where there is nothing to look at, UsageError for a key with two meanings.
    """
    findings: list[Finding] = []
    subjects = [
        Subject(store, located, _read(store, located, findings, how.key))
        for located in _locate(store, source, findings)
    ]
    nbytes = 0
    digests: dict[str, str] = {}
    for subject in subjects:
        for check in CHECKS:
            findings.extend(check(subject))
        if how.deep:
            for read, found in check_deep(subject, how.jobs):
                nbytes += read
                findings.extend(found)
        if how.load:
            for read, found in _load(store, subject, how.key):
                nbytes += read
                findings.extend(found)
    if how.against is not None and subjects:
        nbytes += _against(store, subjects[0].checkpoint, how.against, how, findings, digests)
    worst = {finding.severity for finding in findings}
    return Verdict(
        findings=tuple(sorted(dict.fromkeys(findings), key=lambda finding: _RANK[finding.severity])),
        ok="error" not in worst and not (how.strict and "warning" in worst),
        depth="deep" if how.deep else "headers",
        files=sum(len(subject.checkpoint.files) for subject in subjects),
        tensors=sum(len(subject.checkpoint.tensors) for subject in subjects),
        bytes=nbytes,
        digests=digests,
    )


def _load(store: Store, subject: Subject, key: str | None) -> Iterator[tuple[int, list[Finding]]]:
    from shardctl.verify.upstream import check_load  # noqa: PLC0415 - the only way to torch

    return check_load(store, subject.checkpoint, key)


_RANK = {"error": 0, "warning": 1, "note": 2}


def _locate(store: Store, source: str, findings: list[Finding]) -> Iterator[Located]:
    """What SOURCE means; of an ambiguous folder, each of its checkpoints in turn."""
    try:
        yield find_source(store, source, whole_set=False)
    except UsageError as error:
        if error.code != "folder-ambiguous":
            raise
        choices = folder_checkpoints(store, source)
        findings.append(_ambiguous(error, choices))
        for candidate in choices:
            try:
                yield find_source(store, store.join(source, candidate.choice), whole_set=candidate.is_set)
            except InputError as incomplete:
                findings.append(as_finding(incomplete))


def _read(store: Store, located: Located, findings: list[Finding], key: str | None) -> Checkpoint:
    try:
        return read_checkpoint(store, located, findings.append, key, drop_non_tensors=True, nested=True)
    except (MissingError, UsageError):
        raise
    except InputError as error:
        findings.append(as_finding(error))
        return Checkpoint("safetensors" if located.suffix == ".safetensors" else "bin", (), ())


def as_finding(error: ShardctlError) -> Finding:
    """An error as something found."""
    return Finding(error.code, "error", error.message, error.hint, error.file, error.tensor, error.offset)


def _ambiguous(error: UsageError, choices: list[Candidate]) -> Finding:
    taken = "; ".join(f"{loader} takes {choice}" for loader, choice in loader_choices(choices).items())
    return Finding("folder-ambiguous", "error", f"{error.message}: {taken}", error.hint, file=error.file)


def loader_choices(choices: list[Candidate]) -> dict[str, str]:
    """Which file each loader would take of a folder with these checkpoints.

    Source: `_get_resolved_checkpoint_files` of transformers, `load_torch_model` of huggingface_hub,
    `load_checkpoint_in_model` of accelerate.
    """
    plain = [candidate for candidate in choices if candidate.variant is None]
    there = {candidate.choice for candidate in plain}
    indexes = sorted(candidate.choice for candidate in choices if candidate.index is not None)
    single, single_bin = "model.safetensors", "pytorch_model.bin"
    sharded, sharded_bin = f"{single}.index.json", f"{single_bin}.index.json"
    orders = {
        "transformers": (single, sharded, single_bin, sharded_bin),
        "huggingface_hub": (sharded, single, sharded_bin, single_bin),
        "accelerate": (single_bin, single, *(indexes if len(indexes) == 1 else ())),
    }
    return {loader: next((name for name in order if name in there), "none") for loader, order in orders.items()}


def _against(
    store: Store,
    checkpoint: Checkpoint,
    other: str,
    how: Thoroughness,
    findings: list[Finding],
    digests: dict[str, str],
) -> int:
    located = find_source(store, other, whole_set=False)
    theirs = named_tensors(_read(store, located, findings, how.key))
    ours = named_tensors(checkpoint)
    findings.extend(compare_headers(ours, theirs, other))
    nbytes = 0
    if how.deep:
        for compared in compare_data(store, ours, theirs, other, how.jobs):
            findings.extend(compared.findings)
            nbytes += compared.nbytes
            if compared.sha256 is not None:
                digests[compared.name] = compared.sha256
    return nbytes
