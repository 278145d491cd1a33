"""Reading ranges of a file across a network."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardctl.errors import SourceChangedError, StorageError
from shardctl.model import Extent
from shardctl.stores.remote.reader import END_BYTES, RemoteReader
from shardctl.stores.remote.store import RemoteStore
from shardctl.stores.remote.web import WebClient
from tests.support.web_server import Fault, WebServer
from tests.unit.stores.remote.conftest import QUICK

DATA = bytes(range(250)) * 1200

Opened = Callable[[], RemoteReader]


@pytest.fixture
def opened(server: WebServer) -> Opened:
    """What opens `a.bin` as no one has before."""

    def opened() -> RemoteReader:
        store = RemoteStore(server.url, WebClient(server.url), QUICK)
        return store.open(f"{server.url}/a.bin")

    return opened


def extents(server: WebServer) -> list[tuple[int, int] | None]:
    """The first and the last byte of every request."""
    return [request.extent for request in server.requests]


def test_the_first_request_brings_the_beginning(server: WebServer, opened: Opened) -> None:
    """Opening asks for the beginning; what lies in it is not asked for again."""
    reader = opened()
    assert reader.read(0, 8) == DATA[:8]
    assert reader.read(500, 90_000) == DATA[500:90_500]
    assert extents(server) == [(0, END_BYTES - 1)]


def test_a_longer_header_takes_a_second_request(server: WebServer, opened: Opened) -> None:
    """A range that goes on after the beginning takes one request, for the rest alone."""
    assert opened().read(8, 150_000) == DATA[8:150_008]
    assert extents(server) == [(0, END_BYTES - 1), (END_BYTES, 150_007)]


def test_the_end_comes_at_once(server: WebServer, opened: Opened) -> None:
    """The first small read near the end brings the end along."""
    reader = opened()
    for offset in (len(DATA) - 22, len(DATA) - 50_000, len(DATA) - END_BYTES):
        assert reader.read(offset, 22) == DATA[offset : offset + 22]
    assert extents(server) == [(0, END_BYTES - 1), (len(DATA) - END_BYTES, len(DATA) - 1)]


def test_small_reads_side_by_side_take_one_request(server: WebServer, opened: Opened) -> None:
    """A small read in the middle brings some bytes after it along."""
    reader = opened()
    for offset in (150_000, 150_030, 152_000):
        assert reader.read(offset, 30) == DATA[offset : offset + 30]
    assert len(server.requests) == 2


def test_a_large_range_is_one_exact_request(server: WebServer, opened: Opened) -> None:
    """A stream asks for its range and nothing more."""
    reader = opened()
    server.forget()
    assert b"".join(reader.stream(Extent("", 1000, 200_000))) == DATA[1000:201_000]
    assert extents(server) == [(1000, 200_999)]
    assert server.nbytes == 200_000


def test_a_broken_connection_is_taken_up_where_it_broke(server: WebServer, opened: Opened) -> None:
    """After a connection that breaks off, only what is missing is asked for."""
    reader = opened()
    server.forget()
    server.faults += [Fault("a.bin", cut=70_000), Fault("a.bin", status=503), Fault("a.bin", cut=5)]
    assert b"".join(reader.stream(Extent("", 0, 250_000))) == DATA[:250_000]
    begun = [extent[0] for extent in extents(server) if extent]
    # What was sent last may be lost with the connection, and is asked for again.
    assert begun == sorted(begun)
    assert begun[0] == 0 < begun[1] <= 70_000
    assert len(begun) == 4


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_stays_broken_names_the_file(server: WebServer, opened: Opened, status: int) -> None:
    """After several tries the error has the file, the byte and the server's answer."""
    reader = opened()
    server.forget()
    server.faults.append(Fault("a.bin", times=99, status=status))
    with pytest.raises(StorageError, match=f"byte 120,000: the server answers {status}") as caught:
        reader.read(120_000, 100_000)
    assert caught.value.file == f"{server.url}/a.bin"
    assert caught.value.offset == 120_000
    assert len(server.requests) == QUICK.tries


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_that_changes_is_an_error(server: WebServer, opened: Opened, *, etags: bool) -> None:
    """Bytes of another version are never returned, be it known by its ETag or by its size."""
    server.etags = etags
    reader = opened()
    (server.root / "a.bin").write_bytes(DATA[::-1] + b"x")
    with pytest.raises(SourceChangedError, match="changed on the server") as caught:
        reader.read(120_000, 100_000)
    assert caught.value.file == reader.path


def test_a_file_that_changes_in_a_transfer_is_an_error(server: WebServer, opened: Opened) -> None:
    """What is left of a range is taken from the same version or not at all."""
    reader = opened()
    server.faults.append(Fault("a.bin", cut=70_000))
    stream = reader.stream(Extent("", 0, 250_000))
    received = [next(stream)]
    (server.root / "a.bin").write_bytes(DATA[::-1])
    with pytest.raises(SourceChangedError):
        received.extend(stream)
    assert b"".join(received) == DATA[: sum(map(len, received))]


def test_announced_ranges_come_at_once(server: WebServer, opened: Opened) -> None:
    """Many small ranges are fetched in parallel, once; what is kept already is not."""
    reader = opened()
    reader.read(len(DATA) - 22, 22)
    server.forget()
    server.delay = 0.05
    places = range(1000, len(DATA), 10_000)
    reader.will_read(places)
    middle = [at for at in places if END_BYTES <= at < len(DATA) - END_BYTES]
    assert len(server.requests) == len(middle)
    assert server.most_at_once >= 4
    for at in places:
        assert reader.read(at - 20, 200) == DATA[at - 20 : at + 180]
    assert len(server.requests) == len(middle)
