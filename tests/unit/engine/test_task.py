"""One file written from its task: every kind of piece, what changed meanwhile, and what is read
back.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace

import pytest

from shardctl.engine import parts
from shardctl.engine import task as tasks
from shardctl.engine.sources import Sources
from shardctl.engine.task import ShardTask, compare, digest, write
from shardctl.errors import FormatError, SourceChangedError, StorageError
from shardctl.layout import Check, Copy, Crc, Gather, Layout, LayoutBuilder
from shardctl.model import Extent
from shardctl.stores.base import Copied
from shardctl.streams import chunks as streams
from shardctl.streams.chunks import chunks
from shardctl.streams.progress import CancelledError
from shardctl.testing.builders import materialise
from shardctl.testing.memory import MemoryStore, MemoryWriter
from tests.support.memory_checkpoints import get, put

SOURCE = bytes(range(100))


def tick(_: int) -> None:
    """Do nothing."""


def layout_of_all() -> Layout:
    """One piece of each kind, the checksums of a run and of a gather among them."""
    builder = LayoutBuilder()
    builder.literal(b"head")
    run = builder.record(Copy(Extent("s", 10, 20), zlib.crc32(SOURCE[10:30])))
    builder.crc(Crc(run))
    gathered = builder.record(Gather(Extent("s", 40, 12), 2, (2, 3), (1, 2)))
    builder.crc(Crc(gathered))
    builder.copy(Extent("s", 90, 10))
    return builder.build()


def task(
    store: MemoryStore, layout: Layout, *, digest: bool = False, read_back: bool = False
) -> ShardTask:
    """The task that writes this layout as `t`."""
    return ShardTask("t", "t", layout, {"s": store.version("s")}, digest, read_back)


@pytest.fixture
def store() -> MemoryStore:
    """A store with the source `s`."""
    store = MemoryStore()
    put(store, "s", SOURCE)
    return store


def test_every_kind_of_piece(store: MemoryStore) -> None:
    """The file is what the layout says, and the receipt counts its bytes."""
    layout = layout_of_all()
    receipt = write(task(store, layout), store, store, tick)
    assert get(store, "t") == materialise(layout, {"s": SOURCE})
    assert (receipt.filename, receipt.nbytes, receipt.sha256) == ("t", layout.nbytes, None)
    assert receipt.copied == Copied(buffered=layout.nbytes)


def test_ticks_add_up(store: MemoryStore) -> None:
    """Ticks count each byte of the file once, reading back and hashing none."""
    ticked: list[int] = []
    layout = layout_of_all()
    write(task(store, layout, digest=True, read_back=True), store, store, ticked.append)
    assert sum(ticked) == layout.nbytes


def test_large_reads_come_in_buffers(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file larger than a chunk is read a chunk at a time."""
    monkeypatch.setattr(streams, "CHUNK_BYTES", 30)
    with store.open("s") as reader:
        assert [len(chunk) for chunk in chunks(reader, Extent("s", 5, 70))] == [30, 30, 10]
    write(task(store, layout_of_all(), digest=True, read_back=True), store, store, tick)


def test_the_digest(store: MemoryStore) -> None:
    """The receipt's digest is that of the file, where it was asked for."""
    layout = layout_of_all()
    receipt = write(task(store, layout, digest=True), store, store, tick)
    wanted = hashlib.sha256(get(store, "t")).hexdigest()
    assert receipt.sha256 == digest(store, "t", tick) == wanted


def test_a_bad_record_is_refused_where_buffers_carry_it(store: MemoryStore) -> None:
    """A run that passes through buffers is compared with the checksum that its source records,
    needed or not.
    """
    with pytest.raises(FormatError, match="CRC-32"):
        write(task(store, Layout((Copy(Extent("s", 10, 20), 1),), 20)), store, store, tick)


def test_threads_change_nothing(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several threads and small parts the bytes, the checksums and the sum of ticks are the
    same.
    """
    monkeypatch.setattr(parts, "PART_BYTES", 7)
    layout = layout_of_all()
    ticked: list[int] = []
    write(replace(task(store, layout, read_back=True), threads=3), store, store, ticked.append)
    assert get(store, "t") == materialise(layout, {"s": SOURCE})
    assert sum(ticked) == layout.nbytes


def test_a_bad_record_is_refused_where_it_passes_through(store: MemoryStore) -> None:
    """A copy whose bytes do not match their recorded checksum is an error with file and offset."""
    builder = LayoutBuilder()
    builder.crc(Crc(builder.record(Copy(Extent("s", 10, 20), 1))))
    with pytest.raises(FormatError, match="CRC-32") as caught:
        write(task(store, builder.build()), store, store, tick)
    assert (caught.value.code, caught.value.file, caught.value.offset) == (
        "zip-crc-mismatch",
        "s",
        10,
    )


@pytest.mark.parametrize(
    "piece", [Copy(Extent("s", 12, 4)), Gather(Extent("s", 12, 3), 1, (2,), (2,))]
)
def test_a_record_that_loses_its_checksum_is_checked(
    store: MemoryStore, piece: Copy | Gather
) -> None:
    """A part of a record is written only where the whole record has its recorded checksum."""

    def layout(crc32: int) -> Layout:
        return Layout((piece, Check(Extent("s", 10, 20), crc32, "w")), piece.nbytes)

    with pytest.raises(FormatError, match="record of tensor 'w' at byte 10 does not match"):
        write(task(store, layout(1)), store, store, tick)
    store.remove("t")
    sound = task(store, layout(zlib.crc32(SOURCE[10:30])), read_back=True)
    receipt = write(sound, store, store, tick)
    assert (receipt.nbytes, receipt.damaged) == (piece.nbytes, ())


def test_damage_that_is_accepted_is_in_the_receipt(store: MemoryStore) -> None:
    """A task that accepts damage writes the bytes as they are, and its receipt says where."""
    pieces = (
        Copy(Extent("s", 10, 20), 1),
        Copy(Extent("s", 42, 4)),
        Check(Extent("s", 40, 9), 1, "w"),
    )
    planned = task(store, Layout(pieces, 24), read_back=True)
    receipt = write(replace(planned, accept_damage=True), store, store, tick)
    assert get(store, "t") == SOURCE[10:30] + SOURCE[42:46]
    assert receipt.damaged == ("'s' at byte 10", "tensor 'w' in 's' at byte 40")


def test_a_source_that_is_another_now(store: MemoryStore) -> None:
    """A source of another version than planned for is refused before a byte of it is used."""
    planned = task(store, layout_of_all())
    put(store, "s", SOURCE)
    with pytest.raises(SourceChangedError, match="'s' changed"):
        write(planned, store, store, tick)


def test_a_source_that_changes_meanwhile(store: MemoryStore) -> None:
    """A source that is written to while it is read is noticed after the last byte."""
    opened = store._files["s"]

    def meddle(_: int) -> None:
        opened.put(0, b"!")

    with pytest.raises(SourceChangedError):
        write(task(store, layout_of_all()), store, store, meddle)


@pytest.mark.parametrize("chunk", [7, streams.CHUNK_BYTES])
def test_reading_back_finds_a_changed_byte(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Every byte that is not what was written is found, whatever piece and chunk it belongs to."""
    monkeypatch.setattr(streams, "CHUNK_BYTES", chunk)
    layout = layout_of_all()
    planned = task(store, layout)
    write(planned, store, store, tick)
    sound = get(store, "t")
    with Sources(store, planned.sources) as sources:
        compare(planned, store, sources, tick)
    for at in range(len(sound)):
        put(store, "t", sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        with (
            Sources(store, planned.sources) as sources,
            pytest.raises(StorageError, match="does not hold"),
        ):
            compare(planned, store, sources, tick)


class Losing(MemoryStore):
    """A store that changes a byte of a file once its cache is dropped."""

    def drop_cache(self, path: str) -> None:
        """Change byte 6."""
        data = bytearray(get(self, path))
        data[6] ^= 1
        put(self, path, bytes(data))


def test_write_reads_back_what_it_wrote() -> None:
    """A disk that loses a byte after the sync is caught where it was asked for, and only there."""
    store = Losing()
    put(store, "s", SOURCE)
    with pytest.raises(StorageError, match="near byte 4"):
        write(task(store, layout_of_all(), read_back=True), store, store, tick)
    store.remove("t")
    write(task(store, layout_of_all()), store, store, tick)


def test_reading_back_finds_a_bad_record_too(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was copied unseen is compared with its checksum when it is read back."""
    layout = Layout((Copy(Extent("s", 0, 10), 1),), 10)
    copy = MemoryWriter.copy
    monkeypatch.setattr(MemoryWriter, "copy", lambda *of: Copied(kernel=copy(*of).buffered))
    monkeypatch.setattr(tasks, "LEAST_BLOCK", 1)
    write(task(store, layout), store, store, tick)
    store.remove("t")
    with pytest.raises(FormatError, match="CRC-32"):
        write(task(store, layout, read_back=True), store, store, tick)


def test_a_stop_is_heard_at_the_next_tick(store: MemoryStore) -> None:
    """What the tick raises ends the task."""

    def stop(_: int) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        write(task(store, layout_of_all()), store, store, stop)
