"""An uploaded file has the bytes of its layout, however its parts came to the store."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from shardctl.engine.task import ShardTask
from shardctl.engine.uploads import parts as sizes
from shardctl.engine.uploads.send import Sent, send
from shardctl.errors import FormatError, SourceChangedError, StorageError
from shardctl.layout import Check, Copy, Crc, Gather, Layout, LayoutBuilder
from shardctl.model import Extent, Version
from shardctl.stores.base import Copied, Store
from shardctl.stores.uploads import SentPart, Upload
from shardctl.streams.progress import CancelledError, no_tick
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.builders import materialise
from shardctl.testing.memory import MemoryStore
from shardctl.testing.place import Place
from tests.support.buckets import fill
from tests.support.memory_checkpoints import put

SOURCE = bytes(range(256)) * 2


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let parts that are sent have 16 bytes."""
    monkeypatch.setattr(sizes, "SENT_BYTES", 16)


@pytest.fixture
def place() -> Place:
    """A bucket with the source `s`."""
    place = Place()
    fill(place, "s", SOURCE)
    return place


@pytest.fixture
def elsewhere() -> MemoryStore:
    """Another store with the same source."""
    store = MemoryStore()
    put(store, "s", SOURCE)
    return store


def layout_of_all(*, bad: bool = False) -> Layout:
    """One piece of each kind; with `bad` the recorded checksum of one is another."""
    builder = LayoutBuilder()
    builder.literal(b"head")
    run = builder.record(Copy(Extent("s", 10, 90), zlib.crc32(SOURCE[10:100]) ^ bad))
    builder.crc(Crc(run))
    gathered = builder.record(Gather(Extent("s", 40, 12), 2, (2, 3), (1, 2)))
    builder.crc(Crc(gathered))
    builder.crc(Crc(run))
    builder.copy(Extent("s", 200, 150))
    return builder.build()


def sent(
    place: Place,
    source: Store,
    layout: Layout,
    store: MemoryBucket | None = None,
    *,
    digest: bool = False,
    accept_damage: bool = False,
) -> Sent:
    """Upload a file of this layout as `t`."""
    versions = {"s": source.version("s")}
    task = ShardTask("t", "t", layout, versions, digest=digest, accept_damage=accept_damage)
    return send(task, source, store or MemoryBucket(place), no_tick)


def completed(place: Place, done: Sent) -> bytes:
    """The bytes of the file once its upload is completed."""
    MemoryBucket(place).complete_upload(done.upload, done.parts, None)
    return place.objects["t"].data


@pytest.mark.parametrize("digest", [False, True])
def test_every_kind_of_piece(place: Place, elsewhere: MemoryStore, *, digest: bool) -> None:
    """From another store all bytes are sent, and those of checksums come in their turn."""
    layout = layout_of_all()
    done = sent(place, elsewhere, layout, digest=digest)
    assert "t" not in place.objects
    wanted = materialise(layout, {"s": SOURCE})
    assert completed(place, done) == wanted
    assert (done.receipt.filename, done.receipt.nbytes) == ("t", len(wanted))
    assert done.receipt.sha256 == (hashlib.sha256(wanted).hexdigest() if digest else None)
    assert done.receipt.copied == Copied(buffered=len(wanted))


def test_the_server_copies_what_need_not_be_seen(place: Place) -> None:
    """In the same store ranges are copied, but for those whose checksum is written."""
    layout = layout_of_all()
    done = sent(place, MemoryBucket(place), layout)
    assert completed(place, done) == materialise(layout, {"s": SOURCE})
    assert done.receipt.copied == Copied(buffered=layout.nbytes - 150, server=150)


def test_a_digest_takes_all_bytes(place: Place) -> None:
    """Where the SHA-256 is asked for, nothing is copied by the server."""
    layout = layout_of_all()
    done = sent(place, MemoryBucket(place), layout, digest=True)
    wanted = materialise(layout, {"s": SOURCE})
    assert done.receipt.copied == Copied(buffered=layout.nbytes)
    assert done.receipt.sha256 == hashlib.sha256(wanted).hexdigest()
    assert completed(place, done) == wanted


class Refusing(MemoryBucket):
    """A bucket whose server copies nothing after all."""

    def copy_part(
        self,
        upload: Upload,  # noqa: ARG002 - a store's
        number: int,  # noqa: ARG002 - a store's
        extent: Extent,  # noqa: ARG002 - a store's
        version: Version,  # noqa: ARG002 - a store's
    ) -> SentPart | None:
        """Refuse it."""
        return None


def test_what_the_server_refuses_is_sent(place: Place) -> None:
    """The file is uploaded once more, and nothing of the first try is left."""
    layout = layout_of_all()
    done = sent(place, MemoryBucket(place), layout, Refusing(place))
    assert [upload.id for upload, _ in place.uploads.values()] == [done.upload.id]
    assert completed(place, done) == materialise(layout, {"s": SOURCE})
    assert done.receipt.copied == Copied(buffered=layout.nbytes)


@pytest.mark.parametrize("same", [True, False])
def test_a_bad_record_is_refused(place: Place, elsewhere: MemoryStore, *, same: bool) -> None:
    """A record that is read and does not match its checksum ends the upload, which is aborted."""
    source = MemoryBucket(place) if same else elsewhere
    with pytest.raises(FormatError) as caught:
        sent(place, source, layout_of_all(bad=True))
    assert caught.value.code == "zip-crc-mismatch"
    assert place.uploads == {}
    done = sent(place, source, layout_of_all(bad=True), accept_damage=True)
    assert len(done.receipt.damaged) == 1


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("wrong", [0, 1])
@pytest.mark.parametrize("beside", [True, False])
def test_a_record_that_loses_its_checksum_is_checked(
    place: Place, elsewhere: MemoryStore, *, same: bool, wrong: int, beside: bool
) -> None:
    """Its bytes are read for that, whether they are those of a copy or of more than that."""
    checked = Extent("s", 0, 200 if beside else 100)
    crc = zlib.crc32(SOURCE[checked.offset : checked.end])
    layout = Layout((Copy(Extent("s", 0, 100)), Check(checked, crc ^ wrong, "tensor")), 100)
    source = MemoryBucket(place) if same else elsewhere
    if not wrong:
        assert completed(place, sent(place, source, layout)) == SOURCE[:100]
        return
    with pytest.raises(FormatError, match="tensor"):
        sent(place, source, layout)


def test_a_source_that_is_another_now(place: Place, elsewhere: MemoryStore) -> None:
    """Its version is compared, also where the server copies it."""
    for source in (MemoryBucket(place), elsewhere):
        task = ShardTask("t", "t", layout_of_all(), {"s": Version(len(SOURCE), "other")})
        with pytest.raises(SourceChangedError) as caught:
            send(task, source, MemoryBucket(place), no_tick)
        assert caught.value.file == "s"
        assert place.uploads == {}


def test_ticks_add_up(place: Place, elsewhere: MemoryStore) -> None:
    """Each byte of the file is counted once, whoever copies it."""
    for source in (MemoryBucket(place), elsewhere):
        ticked: list[int] = []
        task = ShardTask("t", "t", layout_of_all(), {"s": source.version("s")})
        send(task, source, MemoryBucket(place), ticked.append)
        assert sum(ticked) == task.layout.nbytes


def test_a_stop_aborts_the_upload(place: Place, elsewhere: MemoryStore) -> None:
    """A cancelled run leaves no upload that it had begun."""

    def cancel(_: int) -> None:
        raise CancelledError

    task = ShardTask("t", "t", layout_of_all(), {"s": elsewhere.version("s")})
    with pytest.raises(CancelledError):
        send(task, elsewhere, MemoryBucket(place), cancel)
    assert place.uploads == {}


class Full(MemoryBucket):
    """A bucket that takes three parts."""

    def send_part(
        self, upload: Upload, number: int, data: bytes | bytearray | memoryview
    ) -> SentPart:
        """Fail from the fourth part on."""
        if number > 3:
            raise StorageError("no more", hint="stop", file=upload.path)
        return super().send_part(upload, number, data)


def test_a_failing_part_aborts_the_upload(place: Place, elsewhere: MemoryStore) -> None:
    """The error is the store's own."""
    with pytest.raises(StorageError, match="no more"):
        sent(place, elsewhere, layout_of_all(), Full(place))
    assert place.uploads == {}
