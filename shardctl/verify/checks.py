"""The checks that need headers only: each is one small function in a table.

Breaches of the rules of a format, an index or a set are reported while they are read
(`source.read`); these are the other checks.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from shardctl.checksums import CHECKSUMS
from shardctl.columns import Tensors, forms_of, names_of
from shardctl.engine.journal.interrupted import how_far, unfinished
from shardctl.errors import StorageError, TargetExistsError
from shardctl.findings import Finding, Severity, as_finding
from shardctl.formats.detection import recognise_file
from shardctl.formats.hazards import (
    memory_finding,
    refused_finding,
    unread_finding,
    unsafe_finding,
)
from shardctl.formats.registry import all_suffixes, by_name
from shardctl.model import Checkpoint, Index, Tensor
from shardctl.naming import is_training_state, parse_weights_name
from shardctl.source.directory.clients import one_file_client
from shardctl.source.locate import Located
from shardctl.source.misnamed import misnamed_files
from shardctl.storages import shared_storages, used_bytes
from shardctl.stores.base import Store
from shardctl.text import escape, plural
from shardctl.verify.subject import Subject

Check = Callable[[Subject], Iterable[Finding]]


def leftover(subject: Subject) -> Iterator[Finding]:
    """Yield an unfinished run into the directory, unless its files were being renamed.

    Of those that were, `find_subjects` says so, and nothing else is checked.
    """
    try:
        found = unfinished(subject.store, subject.located.directory)
    except (TargetExistsError, StorageError) as error:
        yield Finding("folder-leftover", "warning", error.message, error.hint, file=error.file)
        return
    if found is None:
        return
    staging, committing = found
    severity: Severity = "warning"
    message = "a run into this directory was interrupted; none of its files has a final name"
    hint = "run the same command again to resume, or add `restart` to start over"
    # A journal that cannot be read says no more than that it is there.
    with suppress(StorageError):
        progress = how_far(subject.store, subject.located.directory)
        if progress is not None and progress.plan_id is not None:
            message, hint = f"the directory holds {progress.message}", progress.hint
    if committing:
        severity = "error"
        message = (
            "the state of an interrupted replacement in another directory, or by another version "
            "of shardctl: files may be missing here"
        )
        hint = (
            "run the interrupted command again where it was begun, and copy the directory once more"
        )
    yield Finding("folder-leftover", severity, message, hint, file=staging)


def stale_indexes(subject: Subject) -> Iterator[Finding]:
    """Yield the indexes in the directory of which no file is there."""
    located = subject.located
    for path, first in located.stale.items():
        message = "none of the files that the index lists is there"
        hint = "fetch its files, or remove the index"
        if path == located.index_path:
            message += f"; the {plural(len(located.files), 'numbered file')} beside it are read"
            hint = "write it again with `reindex`, or remove it"
        elif first:
            message += ", and loaders that look for it first fail"
        yield Finding(
            "index-shard-missing",
            "error" if first else "note",
            message,
            hint,
            file=path,
        )


def total_size(subject: Subject) -> Iterator[Finding]:
    """Yield a `total_size` that is not the bytes of the tensors.

    With partial views, the bytes of the whole storages are right too.
    """
    checkpoint = subject.checkpoint
    index = checkpoint.index
    # What is wrong with the index otherwise is the reason for a wrong total, or for none.
    if index is None or checkpoint.incomplete:
        return
    if index.unusable or subject.located.unlisted or _without_metadata(subject.located):
        return
    stated = index.metadata.get("total_size")
    written, whole, each = _sums(subject.tensors.values())
    if isinstance(stated, float) and stated.is_integer():
        stated = int(stated)
    if "total_size" not in index.metadata:
        message = f"the index's metadata has no total_size; the tensors have {written:,} bytes"
    elif stated in (written, whole, each) and not isinstance(stated, bool):
        return
    else:
        # An index may say anything there, at any length.
        message = (
            f"the index says total_size {reprlib.repr(stated)}, and the tensors have {written:,} "
            "bytes"
        )
    if not _lists_all(index, checkpoint):  # said already, and the reason for a wrong total
        return
    hint = "`reindex` corrects it from the shards' headers"
    yield Finding("index-total-size", "error", message, hint, file=index.path)


def _without_metadata(located: Located) -> bool:
    found = {finding.code for finding in located.findings}
    metadata = None if located.index is None else located.index.metadata
    return not metadata and not found.isdisjoint({"index-metadata-missing", "index-invalid"})


def _lists_all(index: Index, checkpoint: Checkpoint) -> bool:
    """Whether an index lists the tensors that there are, and no others but tied names."""
    listed, tensors = index.weight_map, checkpoint.tensors
    # No name is both a tensor's and only recorded.
    tied = sum(alias in listed for alias in checkpoint.aliases)
    held = sum(map(listed.__contains__, names_of(tensors)))
    return held == len(tensors) and len(listed) == held + tied


def _sums(files: Iterable[Sequence[Tensor]]) -> tuple[int, int, int]:
    """Return the bytes of what is written of storages, of whole storages, and of every tensor."""
    written = whole = each = 0
    for held in files:
        used = used_bytes(held)
        written += used
        if isinstance(held, Tensors):
            whole += used
            each += used
            continue
        whole += sum(tensor.storage.extent.length for tensor in held)
        # A storage that several share was counted with each of them.
        for group in shared_storages(held).values():
            whole -= (len(group) - 1) * group[0].storage.extent.length
        each += sum(tensor.nbytes for tensor in held)
    return written, whole, each


def misnamed(subject: Subject) -> Iterator[Finding]:
    """Files whose suffix promises another format."""
    return misnamed_files(subject.checkpoint.files)


def metadata_missing(subject: Subject) -> Iterator[Finding]:
    """Files without the metadata that loaders of their format ask for."""
    lacking = [
        (file, key)
        for file in subject.checkpoint.files
        for key in by_name(file.format).metadata or ()
        if file.tree and key not in file.metadata
    ]
    if lacking:
        file, key = lacking[0]
        others = f", nor in {plural(len(lacking) - 1, 'other file')}" if len(lacking) > 1 else ""
        yield Finding(
            "metadata-format-missing",
            "note",
            f"there is no '{key}' in the metadata{others}: transformers 4 and diffusers refuse "
            "such a file",
            "write it again with `write`, which adds it",
            file=file.path,
        )


def empty_tensors(subject: Subject) -> Iterator[Finding]:
    """Tensors of shape [0], as ZeRO-3 leaves them where a rank holds nothing of them."""
    tensors = subject.checkpoint.tensors
    empty = [number for number, form in enumerate(forms_of(tensors)) if form.shape == (0,)]
    if empty:
        first = tensors[empty[0]]
        yield Finding(
            "tensor-empty",
            "warning",
            f"{len(empty):,} of {plural(len(tensors), 'tensor')} have shape [0], the first is "
            f"'{escape(first.name)}': their elements were not saved",
            "where the model was trained with DeepSpeed ZeRO-3, gather the parameters before "
            "they are saved",
            file=first.storage.extent.path,
            tensor=first.name,
        )


def unsafe_pickles(subject: Subject) -> Iterator[Finding]:
    """What loading a pickle would import or allocate.

    Also what torch's `weights_only` would not allow.
    """
    unread = {path for path, _ in subject.unread}
    for file in subject.checkpoint.files:
        if file.unsafe_globals:
            readable = file.path not in unread
            yield unsafe_finding(file.unsafe_globals, file.path, readable=readable)
        elif file.refused:
            yield refused_finding(file.refused, file.path)
        if file.allocations:
            yield memory_finding(file.allocations, file.path)


def unread_tensors(subject: Subject) -> Iterator[Finding]:
    """Tensors of classes that shardctl does not read, and objects that hold tensors."""
    for path, value in subject.unread:
        yield unread_finding(value, path)


def weights_beside(subject: Subject) -> Iterator[Finding]:
    """Yield the weights in the directory that are of no checkpoint that loaders know by name."""
    store, located = subject.store, subject.located
    choice = located.choice
    if choice is None or choice.taken is None:
        return
    known = {name for each in (choice.taken, *choice.others) for name in each.names}
    for entry in store.list(located.directory):
        path = store.join(located.directory, entry.name)
        named = parse_weights_name(entry.name, all_suffixes()) is not None
        if not named or entry.name in known or is_training_state(entry.name):
            continue
        if path not in located.files and _is_weights(store, path):
            yield Finding(
                "weights-unlisted",
                "note",
                "the file has weights, and does not belong to the checkpoint that is checked",
                "name it to check it",
                file=path,
            )


def _is_weights(store: Store, path: str) -> bool:
    if store.kind(path) != "file":
        return False
    with store.open(path) as reader:
        return recognise_file(reader) is not None


def one_file_clients(subject: Subject) -> Iterator[Finding]:
    """Yield the client that reads one weights file, where this is a set of numbered ones."""
    located = subject.located
    if not located.is_set:
        return
    client = one_file_client(subject.store, located.directory, located.stem)
    if client is not None:
        yield Finding(
            "client-one-file",
            "warning",
            client.about(len(located.files)),
            "write one file with `write(single=True)`",
            file=located.index_path or located.files[0],
        )


def digests_missing(subject: Subject) -> Iterator[Finding]:
    """Yield the files of the set that no SHA256SUMS lists, where there is one."""
    for each in subject.sums:
        if each.unread is not None:
            yield replace(as_finding(each.unread), severity="warning")
    sums = [each for each in subject.sums if each.unread is None]
    if not sums:
        return
    names = subject.names
    for path in subject.located.files:
        if not any(names[path] in each.digests for each in sums):
            yield Finding(
                "digest-missing",
                "warning",
                f"{CHECKSUMS} has no line for this file",
                f"write {CHECKSUMS} again, for example with sha256sum, or write the files with "
                "`checksums`",
                file=path,
            )


CHECKS: tuple[Check, ...] = (
    leftover,
    stale_indexes,
    total_size,
    misnamed,
    metadata_missing,
    empty_tensors,
    unsafe_pickles,
    unread_tensors,
    weights_beside,
    one_file_clients,
    digests_missing,
)
