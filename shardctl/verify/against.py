"""Compare two checkpoints tensor by tensor, whatever their formats and shards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from shardctl.errors import ShardctlError
from shardctl.findings import Finding, as_finding
from shardctl.layout import Copy, Gather, tensor_piece
from shardctl.model import DTYPES, Checkpoint, Storage, Tensor
from shardctl.planning.plan import MOST_GROWTH
from shardctl.stores.base import Store
from shardctl.streams.gather import feed
from shardctl.streams.pool import in_order
from shardctl.streams.progress import Tick

_HINT_SAME = "the two are not the same model: check which one is meant"


class Hash(Protocol):
    """A hash object of hashlib."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Comparing:
    """How to compare: where each side is read, tensors at once, and whether to take digests.

    `tick` is called with the bytes read.
    """

    store: Store
    other: Store
    jobs: int
    digests: bool
    tick: Tick


@dataclass(frozen=True, slots=True)
class Compared:
    """One tensor that both sides have: the bytes read, its digest if wanted, and what differs."""

    name: str
    nbytes: int
    sha256: str | None
    findings: tuple[Finding, ...]


def named_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return every tensor by name, with recorded aliases."""
    tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
    for alias, kept in checkpoint.aliases.items():
        tensors[alias] = replace(tensors[kept], name=alias)
    return tensors


def compare_headers(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], other: str
) -> Iterator[Finding]:
    """Yield what differs in names, dtypes and shapes; `other` is how the other side is called."""
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
    """Return the tensors with equal names, dtypes and shapes, whose bytes can be compared."""
    return [
        (tensor, twin)
        for name, tensor in ours.items()
        if (twin := theirs.get(name)) is not None
        and (twin.dtype, twin.shape) == (tensor.dtype, tensor.shape)
    ]


def compare_data(
    pairs: Sequence[tuple[Tensor, Tensor]],
    other: str,
    how: Comparing,
    meanwhile: Callable[[], None],
) -> Iterator[Compared]:
    """Compare the bytes of tensors, streaming, several of them at once; yields one result each.

    `other` is how the other side is called. `meanwhile` is called now and then as this thread
    waits.
    """
    yield from in_order(
        how.jobs, lambda pair: _compare(pair[0], pair[1], other, how), pairs, meanwhile
    )


def compared_parts(tensor: Tensor, twin: Tensor) -> tuple[Tensor, Tensor]:
    """What of two tensors has to be read to compare them: themselves, unless both repeat the same bytes.

    A view of a few bytes can have more elements than anybody can read. Where both repeat along a
    dimension, once is enough; where they still are the same view of few bytes, those are compared.
    """
    if tensor.strides is None or twin.strides is None:
        return tensor, twin
    shape = tuple(
        1 if not step and not other and size else size
        for size, step, other in zip(tensor.shape, tensor.strides, twin.strides, strict=True)
    )
    mine, its = replace(tensor, shape=shape), replace(twin, shape=shape)
    span = mine.span
    if mine.strides == its.strides and mine.nbytes > MOST_GROWTH * max(span.length, 1):
        return _raw(mine), _raw(its)
    return mine, its


def _raw(tensor: Tensor) -> Tensor:
    """The bytes from a tensor's first element to its last, as a tensor of them."""
    span = tensor.span
    return Tensor(tensor.name, DTYPES["U8"], (span.length,), Storage(span, tensor.storage.key))


def _compare(tensor: Tensor, twin: Tensor, other: str, how: Comparing) -> Compared:
    mine, its = compared_parts(tensor, twin)
    # A digest is that of all elements, so there is none where they are not all read.
    sha = hashlib.sha256() if how.digests and mine.shape == tensor.shape else None
    try:
        differs = _first_difference(tensor_piece(mine), tensor_piece(its), sha, how)
    except ShardctlError as error:
        broken = replace(as_finding(error), tensor=tensor.name)
        return Compared(tensor.name, 0, None, (broken,))
    if differs is None:
        return Compared(tensor.name, 2 * mine.nbytes, None if sha is None else sha.hexdigest(), ())
    message = f"the bytes differ from those in '{other}', first near byte {differs:,} of the tensor"
    return Compared(
        tensor.name, 2 * mine.nbytes, None, (_finding("against-data", tensor, message),)
    )


def _first_difference(
    mine: Copy | Gather, its: Copy | Gather, sha: Hash | None, how: Comparing
) -> int | None:
    """Return where the elements of two tensors differ first, to within a chunk; None if nowhere.

    In bytes from the start of the tensor. `sha` takes in the elements. Bytes are compared with
    bytes, which is faster than any digest.
    """
    if isinstance(mine, Gather) and isinstance(its, Gather):
        return _difference_of_digests(mine, its, sha, how)
    (store, streamed), (other, straight) = (how.store, mine), (how.other, its)
    if isinstance(its, Gather):
        (store, streamed), (other, straight) = (how.other, its), (how.store, mine)
    done = 0
    differs: int | None = None
    with store.open(streamed.extent.path) as reader, other.open(straight.extent.path) as twin:

        def see(chunk: bytes | bytearray | memoryview) -> None:
            nonlocal done, differs
            found = twin.read(straight.extent.offset + done, len(chunk))
            if sha is not None:
                sha.update(chunk)
            if differs is None and found != chunk:
                differs = done
            done += len(chunk)
            how.tick(2 * len(chunk))

        feed(reader, streamed, see)
    return differs


def _difference_of_digests(
    mine: Gather, its: Gather, sha: Hash | None, how: Comparing
) -> int | None:
    """Compare two strided views, which come in different chunks: only the whole can be compared."""
    ours, theirs = sha or hashlib.sha256(), hashlib.sha256()
    for store, piece, digest in ((how.store, mine, ours), (how.other, its, theirs)):
        with store.open(piece.extent.path) as reader:
            feed(reader, piece, digest.update)
    return None if ours.digest() == theirs.digest() else 0


def tensor_digest(store: Store, tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's elements, row-major, little-endian as stored, in hex."""
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
