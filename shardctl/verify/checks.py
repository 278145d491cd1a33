"""The checks that need headers only: each is one small function in a table.

What a container's, the index's or a set's own rules say is reported while they are read
(`discover`); here is the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from shardctl.checksums import CHECKSUMS
from shardctl.engine.journal import COMMIT, PLAN, STAGING
from shardctl.findings import Finding
from shardctl.formats.torch.hazards import (
    memory_finding,
    refused_finding,
    unread_finding,
    unsafe_finding,
)
from shardctl.model import NonTensor, Tensor
from shardctl.source.checksum_file import read_checksums
from shardctl.source.state_dict import flatten
from shardctl.storages import by_file, storage_units
from shardctl.verify.subject import Subject

Check = Callable[[Subject], Iterable[Finding]]


def leftover(subject: Subject) -> Iterator[Finding]:
    """A half-done run in the folder."""
    store, directory = subject.store, subject.located.directory
    for entry in store.list(directory):
        if entry.kind != "directory" or not entry.name.endswith(STAGING):
            continue
        staging = store.join(directory, entry.name)
        if store.kind(store.join(staging, COMMIT)) == "file":
            yield Finding(
                "folder-leftover",
                "error",
                "a replacement was cut short here while files took their names: the folder may hold old and new ones",
                "run the command that was interrupted again, whatever its SOURCE holds now: it is finished first",
                file=staging,
            )
        elif store.kind(store.join(staging, PLAN)) == "file":
            yield Finding(
                "folder-leftover",
                "warning",
                "a run into this folder was interrupted; nothing of it has a final name",
                "run the same command again to go on, or remove this hidden folder to give it up",
                file=staging,
            )


def total_size(subject: Subject) -> Iterator[Finding]:
    """`total_size` against the bytes of the tensors; with partial views, the whole storages are right too."""
    index = subject.checkpoint.index
    if index is None:
        return
    stated = index.metadata.get("total_size")
    written, whole, each = _sums(subject.checkpoint.tensors)
    if isinstance(stated, float) and stated.is_integer():
        stated = int(stated)
    if "total_size" not in index.metadata:
        message = f"the index's metadata has no total_size; the tensors have {written:,} bytes"
    elif stated in (written, whole, each) and not isinstance(stated, bool):
        return
    else:
        message = f"the index says total_size {stated!r}, and the tensors have {written:,} bytes"
    hint = "`shardctl index` corrects it from the shards' headers"
    yield Finding("index-total-size", "error", message, hint, file=index.path)


def _sums(tensors: Iterable[Tensor]) -> tuple[int, int, int]:
    """Bytes of what is written of storages, of whole storages, and of every tensor; `tensors` stand file after file."""
    written = whole = each = 0
    for held in by_file(tensors):
        for unit in storage_units(held):
            written += unit.nbytes
            whole += unit.tensors[0].storage.extent.length
            each += sum(tensor.nbytes for tensor in unit.tensors)
    return written, whole, each


def unsafe_pickles(subject: Subject) -> Iterator[Finding]:
    """What loading a pickle would import or allocate, and what torch's `weights_only` would not allow."""
    unread = {path for path, _ in _unread(subject)}
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
    for path, value in _unread(subject):
        yield unread_finding(value, path)


def _unread(subject: Subject) -> Iterator[tuple[str, NonTensor]]:
    for file in subject.checkpoint.files:
        for value in flatten(file.tree).non_tensors:
            if value.unread:
                yield file.path, value


def digests_missing(subject: Subject) -> Iterator[Finding]:
    """Files of the set that the folder's SHA256SUMS does not list."""
    store, directory = subject.store, subject.located.directory
    sums = read_checksums(store, directory)
    if sums is None:
        return
    names = subject.names
    for path in subject.located.files:
        if names[path] not in sums:
            yield Finding(
                "digest-missing",
                "warning",
                f"{CHECKSUMS} has no line for this file",
                f"write {CHECKSUMS} again: the writing commands do with --checksums",
                file=path,
            )


CHECKS: tuple[Check, ...] = (
    leftover,
    total_size,
    unsafe_pickles,
    unread_tensors,
    digests_missing,
)
