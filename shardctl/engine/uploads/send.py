"""Upload one file from its task, on any thread, process or machine; `engine.task` in a bucket.

Parts that the server can copy are copied there, and the others are sent, several at once. The
file does not appear: its upload is completed by the commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shardctl.engine.damage import damage
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.sample import sample
from shardctl.engine.parts import Outcome, summed_pieces
from shardctl.engine.sources import Sources
from shardctl.engine.task import ShardTask, copied_checks
from shardctl.engine.uploads.contents import contents
from shardctl.engine.uploads.parts import PlannedPart, plan_parts
from shardctl.errors import ShardctlError
from shardctl.layout import Copy, Layout
from shardctl.model import Extent
from shardctl.stores.base import Copied, Store
from shardctl.stores.uploads import CopiesParts, SentPart, Upload, UploadStore, has_uploads
from shardctl.streams.elements import Chunk
from shardctl.streams.pool import in_order
from shardctl.streams.progress import Tick

#: Parts of one file that are sent at once; a few more are in memory.
PARTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that is uploaded whole, and not yet completed."""

    receipt: Receipt
    upload: Upload
    parts: tuple[SentPart, ...]


class RefusedError(Exception):
    """The server does not copy a range that it was thought to reach."""


def send(
    task: ShardTask,
    source: Store,
    target: Store,
    tick: Tick,
    begun: Callable[[Upload], object] = lambda _: None,
) -> Sent:
    """Upload the file of a task whose `staged` is its final path.

    `begun` is called with each upload before anything is sent. Raises SourceChangedError,
    FormatError, StorageError, also where another process has aborted the upload, and what `tick`
    raises; the upload is aborted then. TypeError is for a store without uploads.
    """
    if not has_uploads(target):
        raise TypeError(f"{target!r} has no uploads")
    try:
        return _send(task, source, target, tick, begun, _reachable(task, source, target))
    except RefusedError:
        return _send(task, source, target, tick, begun, lambda _: False)


def _send(
    task: ShardTask,
    source: Store,
    target: UploadStore,
    tick: Tick,
    begun: Callable[[Upload], object],
    is_copied: Callable[[int], bool],
) -> Sent:
    planned = plan_parts(task.layout, target.part_limits, is_copied)
    upload = target.begin_upload(task.staged)
    try:
        begun(upload)
        return _sent(task, planned, upload, source, target, tick)
    except BaseException:
        with suppress(ShardctlError):
            target.abort_upload(upload)
        raise


def _sent(
    task: ShardTask,
    planned: Sequence[PlannedPart],
    upload: Upload,
    source: Store,
    target: UploadStore,
    tick: Tick,
) -> Sent:
    layout = task.layout
    sha = hashlib.sha256() if task.digest else None
    outcome = Outcome.of(task.layout)

    def put(item: tuple[PlannedPart, bytearray]) -> SentPart:
        part, data = item
        tick(0)
        if part.extent is None:
            return target.send_part(upload, part.number, data)
        copied = _copy(target, upload, part, part.extent, task)
        tick(part.nbytes)
        return copied

    with Sources(source, task.sources) as sources:
        left_out = [(p.offset, p.offset + p.nbytes) for p in planned if p.extent is not None]
        stream = contents(layout, sources, left_out, tick, outcome)
        if sha is not None:
            stream = _digested(stream, sha.update)
        parts = tuple(in_order(PARTS_AT_ONCE, put, _filled(planned, stream)))
        for _ in stream:  # checks of the sources may come after the last byte
            pass
        damaged = damage(layout, outcome, accept=task.accept_damage)
        sampled = sample(layout, sources)
        sources.check_unchanged()
    server = Copied(server=sum(end - begin for begin, end in left_out))
    places = tuple(each.place for each in damaged)
    digest = None if sha is None else sha.hexdigest()
    receipt = Receipt(
        task.filename, layout.nbytes, digest, outcome.copied + server, places, sampled
    )
    return Sent(receipt, upload, parts)


def _copy(
    target: UploadStore, upload: Upload, part: PlannedPart, extent: Extent, task: ShardTask
) -> SentPart:
    if not isinstance(target, CopiesParts):
        raise RefusedError
    copied = target.copy_part(upload, part.number, extent, task.sources[extent.path])
    if copied is None:
        raise RefusedError
    return copied


def _reachable(task: ShardTask, source: Store, target: UploadStore) -> Callable[[int], bool]:
    """Return which copies, by number, the server can make: bytes that need not be seen here."""
    if task.digest or not isinstance(target, CopiesParts) or not target.can_copy_from(source):
        return lambda _: False
    seen, least = _seen(task.layout), target.part_limits.least

    def is_copied(number: int) -> bool:
        piece = task.layout.pieces[number]
        large = isinstance(piece, Copy) and task.sources[piece.extent.path].size > least
        return large and number not in seen

    return is_copied


def _seen(layout: Layout) -> frozenset[int]:
    """The numbers of the pieces whose bytes are summed: a checksum is written, or compared."""
    summed = (number for number, is_summed in enumerate(summed_pieces(layout)) if is_summed)
    return frozenset((*summed, *copied_checks(layout).values()))


def _digested(stream: Iterator[Chunk], update: Callable[[Chunk], None]) -> Iterator[Chunk]:
    for chunk in stream:
        update(chunk)
        yield chunk


def _filled(
    planned: Sequence[PlannedPart], stream: Iterator[Chunk]
) -> Iterator[tuple[PlannedPart, bytearray]]:
    """Yield each part with its bytes, which are none where the server copies them."""
    left = memoryview(b"")
    for part in planned:
        data = bytearray()
        while part.extent is None and len(data) < part.nbytes:
            left = left or memoryview(next(stream)).cast("B")
            taken = left[: part.nbytes - len(data)]
            data += taken
            left = left[len(taken) :]
        yield part, data
