"""Two checkpoints compared tensor by tensor, whatever their containers and shards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from shardctl.errors import ShardctlError
from shardctl.findings import Finding
from shardctl.layout import Copy, Gather, tensor_piece
from shardctl.model import Checkpoint, Tensor
from shardctl.stores.base import Store
from shardctl.streams.gather import feed
from shardctl.streams.pool import in_order
from shardctl.streams.progress import Tick

_HINT_SAME = "the two are not the same model: check which one is meant"


class Hash(Protocol):
    """What hashlib gives."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Comparing:
    """How to compare: tensors at once, whether a digest of each is wanted, who is told of the bytes read."""

    jobs: int
    digests: bool
    tick: Tick


@dataclass(frozen=True, slots=True)
class Compared:
    """One tensor that both sides have: the bytes read, what differs, or the digest where one was wanted."""

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


def compare_headers(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], other: str
) -> Iterator[Finding]:
    """Names, dtypes and shapes."""
    for name, tensor in ours.items():
        twin = theirs.get(name)
        if twin is None:
            yield _finding("against-extra", tensor, f"'{other}' has no such tensor")
        elif twin.dtype != tensor.dtype:
            yield _finding(
                "against-dtype", tensor, f"{tensor.dtype.name} here, {twin.dtype.name} in '{other}'"
            )
        elif twin.shape != tensor.shape:
            yield _finding(
                "against-shape",
                tensor,
                f"{list(tensor.shape)} here, {list(twin.shape)} in '{other}'",
            )
    for name, twin in theirs.items():
        if name not in ours:
            yield _finding("against-missing", twin, f"only '{other}' has this tensor")


def alike(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The tensors that both sides have alike, so that their bytes can be compared."""
    return [
        (tensor, twin)
        for name, tensor in ours.items()
        if (twin := theirs.get(name)) is not None
        and (twin.dtype, twin.shape) == (tensor.dtype, tensor.shape)
    ]


def compare_data(
    store: Store,
    pairs: Sequence[tuple[Tensor, Tensor]],
    other: str,
    how: Comparing,
    meanwhile: Callable[[], None],
) -> Iterator[Compared]:
    """Compare the bytes of tensors; streaming, several of them at once."""
    yield from in_order(
        how.jobs, lambda pair: _compare(store, pair[0], pair[1], other, how), pairs, meanwhile
    )


def _compare(store: Store, tensor: Tensor, twin: Tensor, other: str, how: Comparing) -> Compared:
    sha = hashlib.sha256() if how.digests else None
    try:
        differs = _first_difference(store, tensor_piece(tensor), tensor_piece(twin), sha, how.tick)
    except ShardctlError as error:
        broken = Finding(
            error.code, "error", error.message, error.hint, error.file, tensor.name, error.offset
        )
        return Compared(tensor.name, 0, None, (broken,))
    if differs is None:
        return Compared(
            tensor.name, 2 * tensor.nbytes, None if sha is None else sha.hexdigest(), ()
        )
    message = f"the bytes differ from those in '{other}', first near byte {differs:,} of the tensor"
    return Compared(
        tensor.name, 2 * tensor.nbytes, None, (_finding("against-data", tensor, message),)
    )


def _first_difference(
    store: Store, mine: Copy | Gather, its: Copy | Gather, sha: Hash | None, tick: Tick
) -> int | None:
    """Where the elements of two tensors differ first, in bytes from the start, to within a chunk; None: nowhere.

    `sha` takes in the elements of the first. Bytes are compared with bytes, which is faster than
    any digest.
    """
    if isinstance(mine, Gather) and isinstance(its, Gather):
        return _difference_of_digests(store, mine, its, sha)
    (stream, straight) = (mine, its) if isinstance(its, Copy) else (its, mine)
    done = 0
    differs: int | None = None
    with store.open(stream.extent.path) as reader, store.open(straight.extent.path) as twin:

        def see(chunk: bytes | bytearray | memoryview) -> None:
            nonlocal done, differs
            found = twin.read(straight.extent.offset + done, len(chunk))
            if sha is not None:
                sha.update(chunk)
            if differs is None and found != chunk:
                differs = done
            done += len(chunk)
            tick(2 * len(chunk))

        feed(reader, stream, see)
    return differs


def _difference_of_digests(store: Store, mine: Gather, its: Gather, sha: Hash | None) -> int | None:
    """Two strided views come in chunks of their own, so that only all of each can be compared."""
    ours, theirs = sha or hashlib.sha256(), hashlib.sha256()
    for piece, digest in ((mine, ours), (its, theirs)):
        with store.open(piece.extent.path) as reader:
            feed(reader, piece, digest.update)
    return None if ours.digest() == theirs.digest() else 0


def tensor_digest(store: Store, tensor: Tensor) -> str:
    """The SHA-256 of a tensor's elements, row-major, little-endian as stored; in hexadecimal."""
    sha = hashlib.sha256()
    piece = tensor_piece(tensor)
    with store.open(piece.extent.path) as reader:
        feed(reader, piece, sha.update)
    return sha.hexdigest()


def _finding(code: str, tensor: Tensor, message: str) -> Finding:
    extent = tensor.storage.extent
    return Finding(
        code,
        "error",
        message,
        _HINT_SAME,
        file=extent.path,
        tensor=tensor.name,
        offset=tensor.span.offset,
    )
