"""What is checked: the checkpoints that SOURCE means, as far as they could be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from shardctl.engine.interrupted import check_not_half_replaced
from shardctl.errors import InputError, MissingError, UsageError
from shardctl.findings import Capped, Finding, Report, as_finding
from shardctl.model import Checkpoint, NonTensor, Tensor
from shardctl.source.candidates import Candidate
from shardctl.source.checksum_file import read_checksums
from shardctl.source.loaders import loader_choices
from shardctl.source.locate import Located, each_checkpoint, find_source
from shardctl.source.opened import Opened
from shardctl.source.read import read_checkpoint
from shardctl.source.state_dict import unread_in
from shardctl.stores.base import Store


@dataclass(frozen=True)  # without slots: what is made on first use needs a place
class Subject:
    """One checkpoint to check, as far as it could be read."""

    store: Store
    located: Located
    checkpoint: Checkpoint

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The names of the files in the directory, by path."""
        return self.located.names(self.store)

    @cached_property
    def digests(self) -> Mapping[str, str] | None:
        """The digests in the directory's `SHA256SUMS`; None without it. Raises FormatError."""
        return read_checksums(self.store, self.located.directory)

    @cached_property
    def unread(self) -> Sequence[tuple[str, NonTensor]]:
        """What is not read of tensors in each file, whatever the key, with the file's path."""
        files = self.checkpoint.files
        return [(file.path, value) for file in files for value in unread_in(file.tree)]

    @cached_property
    def tensors(self) -> Mapping[str, list[Tensor]]:
        """The tensors of each file, by its path."""
        held: dict[str, list[Tensor]] = {file.path: [] for file in self.checkpoint.files}
        for tensor in self.checkpoint.tensors:
            held[tensor.storage.extent.path].append(tensor)
        return held

    def may_hold(self) -> Callable[[str], bool]:
        """Return whether a tensor of a name may be in a file that could not be read whole.

        With an index, in the file that it gives; without one, in any.
        """
        incomplete, index = self.checkpoint.incomplete, self.checkpoint.index
        if not incomplete or index is None:
            return lambda _: bool(incomplete)
        names = self.names
        shards = {names[path] for path in incomplete}
        return lambda name: index.weight_map.get(name) in shards


def find_subjects(
    store: Store, source: str, key: str | None, report: Report, opened: Opened
) -> list[Subject]:
    """Return what SOURCE means; of an ambiguous directory, each of its checkpoints.

    What is wrong goes to `report`. Where a replacement was interrupted that is all: what there is
    of the files means nothing. Raises MissingError, and UsageError for a key with two meanings.
    """
    try:
        check_not_half_replaced(store, source)
    except InputError as error:
        report(Finding("folder-leftover", "error", error.message, error.hint, file=error.file))
        return []
    # They are held back until it is known whether an ambiguity makes a difference.
    findings: list[Finding] = []
    capped = Capped(findings.append)
    subjects = [
        read_subject(store, located, key, capped, opened)
        for located in _locate(store, source, capped)
    ]
    capped.close()
    same = _same_tensors(subjects)
    for finding in findings:
        report(_softened(finding) if same else finding)
    return subjects


def read_subject(
    store: Store, located: Located, key: str | None, report: Report, opened: Opened
) -> Subject:
    """Return the checkpoint of some files, as far as it can be read; `report` what is wrong."""
    try:
        checkpoint = read_checkpoint(
            store,
            located,
            report,
            key,
            nested=True,
            opened=opened,
        )
    except (MissingError, UsageError):
        raise
    except InputError as error:
        report(as_finding(error))
        checkpoint = Checkpoint(located.format, (), ())
    return Subject(store, located.completed(checkpoint), checkpoint)


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


def _ambiguous(error: UsageError, choices: list[Candidate]) -> Finding:
    taken = "; ".join(
        f"{loader} loads {choice}" for loader, choice in loader_choices(choices).items()
    )
    return Finding(
        "folder-ambiguous", "error", f"{error.message}: {taken}", error.hint, file=error.file
    )


def _same_tensors(subjects: Sequence[Subject]) -> bool:
    """Whether several checkpoints are one in different formats, by their headers.

    Two in one format are not: one of them is left over from an earlier save.
    """
    formats = {subject.checkpoint.format for subject in subjects}
    if len(subjects) < 2 or len(formats) < len(subjects):
        return False
    held = [
        {tensor.name: (tensor.dtype, tensor.shape) for tensor in subject.checkpoint.tensors}
        for subject in subjects
    ]
    return bool(held[0]) and all(tensors == held[0] for tensors in held)


def _softened(finding: Finding) -> Finding:
    """Return the finding for an ambiguous directory as a note, where it makes no difference."""
    if finding.code != "folder-ambiguous":
        return finding
    message = f"{finding.message}; all of them have the same names, dtypes and shapes"
    hint = "compare their bytes with `verify(deep=True)` and `against`, one with the other"
    return replace(finding, severity="note", message=message, hint=hint)
