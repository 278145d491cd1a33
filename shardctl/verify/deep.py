"""The checks that read all the bytes: the CRCs of torch zips, and `SHA256SUMS`. Files are read side by side."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from shardctl.checksums import CHECKSUMS
from shardctl.engine.task import chunks
from shardctl.errors import ShardctlError
from shardctl.model import Extent, File, Finding
from shardctl.select import flatten
from shardctl.stores.base import Store
from shardctl.verify.subject import Subject, read_checksums


def check_deep(subject: Subject, jobs: int) -> Iterator[tuple[int, list[Finding]]]:
    """Read every file of the checkpoint; yields, file by file, the bytes read and what is wrong with them."""
    sums = read_checksums(subject.store, subject.located.folder) or {}
    names = subject.names
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="verify") as pool:
        yield from pool.map(
            lambda file: _check_file(subject.store, file, sums.get(names[file.path])), subject.checkpoint.files
        )


def _check_file(store: Store, file: File, digest: str | None) -> tuple[int, list[Finding]]:
    try:
        findings = list(_bad_records(store, file))
        if digest is not None:
            findings += _bad_digest(store, file, digest)
        else:
            _read_through(store, file)
    except ShardctlError as error:
        return 0, [Finding(error.code, "error", error.message, error.hint, error.file, error.tensor, error.offset)]
    return file.version.size, findings


def _bad_records(store: Store, file: File) -> Iterator[Finding]:
    names = _tensor_names(file)
    with store.open(file.path) as reader:
        for record in file.records:
            if record.crc32 is None:
                continue
            crc = 0
            for chunk in chunks(reader, record.extent):
                crc = zlib.crc32(chunk, crc)
            if crc != record.crc32:
                yield Finding(
                    "zip-crc-mismatch",
                    "error",
                    f"record '{record.key}' does not match its CRC-32 "
                    f"(recorded {record.crc32:08x}, found {crc:08x}): its bytes changed after it was saved",
                    "the file is damaged: fetch or save it again",
                    file=file.path,
                    tensor=names.get(record.key),
                    offset=record.extent.offset,
                )


def _tensor_names(file: File) -> dict[str, str]:
    return {tensor.storage.key: tensor.name for tensor in reversed(flatten(file.tree).tensors)}


def _bad_digest(store: Store, file: File, digest: str) -> Iterable[Finding]:
    sha = hashlib.sha256()
    with store.open(file.path) as reader:
        for chunk in chunks(reader, Extent(file.path, 0, file.version.size)):
            sha.update(chunk)
    if sha.hexdigest() != digest:
        yield Finding(
            "digest-mismatch",
            "error",
            f"{CHECKSUMS} says {digest}, and the file has {sha.hexdigest()}",
            "the file changed after the checksums were written: fetch it again, or write them again",
            file=file.path,
        )


def _read_through(store: Store, file: File) -> None:
    """Read what no checksum covers, so that a disk that cannot give it back is found."""
    if file.records:
        return
    with store.open(file.path) as reader:
        for _ in chunks(reader, Extent(file.path, 0, file.version.size)):
            pass
