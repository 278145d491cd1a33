"""What is checked: the checkpoints that SOURCE means, as far as they could be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from shardctl.engine.found import find_checkpoint
from shardctl.engine.journal.interrupted import check_not_half_replaced
from shardctl.errors import InputError, MissingError, UsageError
from shardctl.findings import Capped, Finding, Report, as_finding, report_all
from shardctl.model import Checkpoint, NonTensor, Tensor
from shardctl.source.directory.candidates import Candidate
from shardctl.source.directory.loaders import NOTHING, loader_choices
from shardctl.source.locate import Located, each_checkpoint, find_source
from shardctl.source.opened import Opened
from shardctl.source.read import read_checkpoint
from shardctl.source.recorded.checksum_file import Sums, sums_for
from shardctl.source.recorded.digests import Digest, recorded_digests
from shardctl.source.state_dict import unread_in
from shardctl.storages import tensors_by_path
from shardctl.stores.base import Store
from shardctl.text import escape


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
    def sums(self) -> Sequence[Sums]:
        """Every `SHA256SUMS` that may list the files, with the digests by their names."""
        return sums_for(self.store, self.located.directory, self.names.values())

    @cached_property
    def digests(self) -> Mapping[str, tuple[Digest, ...]]:
        """The SHA-256 that are recorded for each file that was read whole, by its path.

        What is wrong with the header of any other file says more than its digest.
        """
        incomplete = self.checkpoint.incomplete
        paths = (file.path for file in self.checkpoint.files if file.path not in incomplete)
        files = {path: self.names[path] for path in paths}
        return recorded_digests(self.store, self.located.directory, files, self.sums)

    @cached_property
    def unread(self) -> Sequence[tuple[str, NonTensor]]:
        """What is not read of tensors in each file, whatever the key, with the file's path."""
        files = self.checkpoint.files
        return [(file.path, value) for file in files for value in unread_in(file.tree)]

    @cached_property
    def tensors(self) -> Mapping[str, Sequence[Tensor]]:
        """The tensors of each file, by its path."""
        paths = (file.path for file in self.checkpoint.files)
        return tensors_by_path(self.checkpoint.tensors, paths)

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


def half_replaced(store: Store, source: str) -> Finding | None:
    """Return the finding for a directory, or a file in one, where a replacement was interrupted."""
    try:
        check_not_half_replaced(store, source)
    except InputError as error:
        return Finding("folder-leftover", "error", error.message, error.hint, file=error.file)
    return None


def find_subjects(
    store: Store,
    source: str,
    key: str | None,
    report: Report,
    opened: Opened,
    variant: str | None = None,
) -> list[Subject]:
    """Return what SOURCE means; of a directory, each checkpoint that some loader takes.

    `variant` chooses one of them. What is wrong goes to `report`. Where a replacement was
    interrupted that is all: what there is of the files means nothing. Raises MissingError, and
    UsageError for a key with two meanings.
    """
    interrupted = half_replaced(store, source)
    if interrupted is not None:
        report(interrupted)
        return []
    capped = Capped(report)
    subjects = [
        read_subject(store, located, key, capped, opened)
        for located in _locate(store, source, variant, capped)
    ]
    capped.close()
    if subjects:
        report_all(_loaders_differ(subjects), report)
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


def _locate(store: Store, source: str, variant: str | None, report: Report) -> Iterator[Located]:
    """Yield what SOURCE means, first; of a directory, what other loaders take of it as well."""
    try:
        located = find_checkpoint(store, source, whole_set=False, variant=variant)
    except UsageError as error:
        if error.code != "folder-ambiguous":
            raise
        each = each_checkpoint(store, source, variant)
        message = f"{error.message}; all of them are checked"
        report(Finding("folder-ambiguous", "note", message, error.hint, error.file))
        yield from each
        return
    yield located
    taken = _loaded(located)
    for candidate in () if located.choice is None else located.choice.others:
        path = store.join(located.directory, candidate.choice)
        if candidate.choice in taken.values():
            yield find_source(store, path, whole_set=False)
        else:
            report(_beside(candidate, path))


def _loaded(located: Located) -> Mapping[str, str]:
    """Return by loader what it takes of the directory; nothing where a variant was chosen.

    Of a directory with one checkpoint there is nothing to take but that, by its index or its file.
    """
    choice = located.choice
    if choice is None or choice.taken is None or choice.variant is not None or not choice.others:
        return {}
    return loader_choices([choice.taken, *choice.others])


def _beside(candidate: Candidate, path: str) -> Finding:
    return Finding(
        "weights-unlisted",
        "note",
        f"the directory also holds {candidate.title}, which is not checked: loaders take another "
        "checkpoint of it",
        "name it, or choose its `variant`",
        file=path,
    )


def _loaders_differ(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Yield the finding for a directory of which loaders take different checkpoints.

    A note where these are one in different formats, by their headers.
    """
    located = subjects[0].located
    taken = _loaded(located)
    names = dict.fromkeys(name for name in taken.values() if name != NOTHING)
    if len(names) < 2:
        return
    directory = located.directory
    differ = "; ".join(f"{loader} loads {escape(name)}" for loader, name in taken.items())
    held = 1 + len(located.choice.others if located.choice else ())
    message = (
        f"'{escape(directory)}' holds {held:,} checkpoints, and loaders differ in which they take: "
        f"{differ}"
    )
    if _same_tensors(subjects):
        yield Finding(
            "folder-ambiguous",
            "note",
            f"{message}; all of them have the same names, dtypes and shapes",
            "compare their bytes with `verify(deep=True)` and `against`, one with the other",
            file=directory,
        )
        return
    yield Finding(
        "folder-ambiguous",
        "error",
        message,
        f"keep one of them, and move the others away: {', '.join(map(escape, names))}",
        file=directory,
    )


def _same_tensors(subjects: Sequence[Subject]) -> bool:
    """Whether several checkpoints are one in different formats, by their headers.

    Two in one format are not: one of them is left over from an earlier save.
    """
    formats = {subject.checkpoint.format for subject in subjects}
    if len(formats) < len(subjects):
        return False
    held = [
        {tensor.name: (tensor.dtype, tensor.shape) for tensor in subject.checkpoint.tensors}
        for subject in subjects
    ]
    return bool(held[0]) and all(tensors == held[0] for tensors in held)
