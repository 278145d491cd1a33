"""Two checkpoints compared tensor by tensor, whatever their containers and shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from shardctl.engine.gather import gather
from shardctl.engine.task import chunks
from shardctl.errors import ShardctlError
from shardctl.layout import Gather, tensor_piece
from shardctl.model import Checkpoint, Finding, Tensor
from shardctl.stores.base import Store

_HINT_SAME = "the two are not the same model: check which one is meant"


@dataclass(frozen=True, slots=True)
class Compared:
    """One tensor that both sides have: the bytes read, its digest where they are equal, what differs."""

    name: str
    nbytes: int
    sha256: str | None
    findings: tuple[Finding, ...]


def named_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every tensor by name, recorded aliases among them."""
    tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
    for alias, kept in checkpoint.aliases.items():
        tensors[alias] = replace(tensors[kept], name=alias)
    return tensors


def compare_headers(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], other: str) -> Iterator[Finding]:
    """Names, dtypes and shapes."""
    for name, tensor in ours.items():
        twin = theirs.get(name)
        if twin is None:
            yield _finding("against-extra", tensor, f"'{other}' has no such tensor")
        elif twin.dtype != tensor.dtype:
            yield _finding("against-dtype", tensor, f"{tensor.dtype.name} here, {twin.dtype.name} in '{other}'")
        elif twin.shape != tensor.shape:
            yield _finding("against-shape", tensor, f"{list(tensor.shape)} here, {list(twin.shape)} in '{other}'")
    for name, twin in theirs.items():
        if name not in ours:
            yield _finding("against-missing", twin, f"only '{other}' has this tensor")


def compare_data(
    store: Store, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], other: str, jobs: int
) -> Iterator[Compared]:
    """The bytes of every tensor that both sides have alike; streaming, several tensors at once."""
    alike = [
        (tensor, twin)
        for name, tensor in ours.items()
        if (twin := theirs.get(name)) is not None and (twin.dtype, twin.shape) == (tensor.dtype, tensor.shape)
    ]
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="compare") as pool:
        yield from pool.map(lambda pair: _compare(store, pair[0], pair[1], other), alike)


def _compare(store: Store, tensor: Tensor, twin: Tensor, other: str) -> Compared:
    try:
        mine, its = tensor_digest(store, tensor), tensor_digest(store, twin)
    except ShardctlError as error:
        broken = Finding(error.code, "error", error.message, error.hint, error.file, tensor.name, error.offset)
        return Compared(tensor.name, 0, None, (broken,))
    if mine == its:
        return Compared(tensor.name, 2 * tensor.nbytes, mine, ())
    message = f"the bytes differ from those in '{other}' (SHA-256 {mine[:16]}… here, {its[:16]}… there)"
    return Compared(tensor.name, 2 * tensor.nbytes, None, (_finding("against-data", tensor, message),))


def tensor_digest(store: Store, tensor: Tensor) -> str:
    """The SHA-256 of a tensor's elements, row-major, little-endian as stored; in hexadecimal."""
    sha = hashlib.sha256()
    piece = tensor_piece(tensor)
    with store.open(piece.extent.path) as reader:
        if isinstance(piece, Gather):
            gather(reader, piece, sha.update)
        else:
            for chunk in chunks(reader, piece.extent):
                sha.update(chunk)
    return sha.hexdigest()


def _finding(code: str, tensor: Tensor, message: str) -> Finding:
    extent = tensor.storage.extent
    return Finding(code, "error", message, _HINT_SAME, file=extent.path, tensor=tensor.name, offset=tensor.span.offset)
