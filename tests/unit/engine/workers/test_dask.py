"""The client's side of a Dask cluster, with a client that a test moves; the rest is in
`tests/conformance/test_dask.py`.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.task import ShardTask, write
from shardctl.engine.workers import dask
from shardctl.engine.workers.dask import DaskWorkers
from shardctl.engine.workers.distant import Tried
from shardctl.errors import ShardctlError, StorageError, UsageError
from shardctl.layout import Layout, Literal
from shardctl.stores.base import Copied
from shardctl.stores.local.store import LocalStore
from shardctl.streams.progress import CancelledError
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

URL, STORE = "tcp://host:8786", LocalStore()


class Sent:
    """A future of Dask's."""

    def __init__(self, call: bytes) -> None:
        self.call = call
        self.status = "pending"
        self._outcome: Any = None
        self._callbacks: list[Callable[[Sent], None]] = []

    def add_done_callback(self, callback: Callable[[Sent], None]) -> None:
        """Remember who wants to know."""
        self._callbacks.append(callback)

    def result(self) -> Any:
        """Return the result, or raise the error."""
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def end(self, status: str, outcome: Any = None) -> None:
        """Be done."""
        self.status, self._outcome = status, outcome
        for callback in self._callbacks:
            callback(self)


class Client:
    """A client of Dask that does nothing by itself."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.cancelled: list[Sent] = []
        self.hear: Callable[[tuple[float, Any]], None] = lambda _: None

    def subscribe_topic(self, _: str, hear: Callable[[tuple[float, Any]], None]) -> None:
        """Remember who wants events."""
        self.hear = hear

    def submit(self, function: object, call: bytes, **_: object) -> Sent:
        """Remember a call, of which nothing but bytes and a function of Python may be sent."""
        assert function is pickle.loads
        self.sent.append(Sent(call))
        return self.sent[-1]

    def cancel(self, sent: list[Sent]) -> None:
        """Remember what was cancelled."""
        self.cancelled = sent

    def close(self, timeout: float) -> None:
        """Do nothing."""


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """The client that the next workers get."""
    made = Client()
    monkeypatch.setattr(dask, "_connect", lambda _: made)
    return made


def task(directory: Path, name: str = "f", nbytes: int = 100) -> ShardTask:
    """A task that writes so many bytes, all in its layout."""
    return ShardTask(name, str(directory / name), Layout((Literal(bytes(nbytes)),), nbytes), {})


def written(directory: Path, name: str = "f", nbytes: int = 100) -> Tried:
    """What a worker reports, whose file is there."""
    path = directory / f"~{name}"
    path.write_bytes(bytes(nbytes))
    return Tried(str(path), Receipt(name, nbytes, None, Copied()), "w1")


def asked(workers: DaskWorkers, directory: Path, name: str = "f") -> Future[Receipt]:
    """Ask for a file."""
    return workers.write(write, task(directory, name), STORE, STORE)


def test_an_accepted_file_has_its_staged_name(tmp_path: Path, client: Client) -> None:
    """The file that a worker reports is renamed before anyone knows that it is finished."""
    future = asked(DaskWorkers(URL, None), tmp_path)
    assert not future.done()
    client.sent[0].end("finished", written(tmp_path))
    assert future.result().filename == "f"
    assert os.listdir(tmp_path) == ["f"]


def test_progress_is_counted_once(tmp_path: Path, client: Client) -> None:
    """Bytes of a repeated try, of late events and of other runs do not add up to more than the
    file has, and a finished file has them all.
    """
    workers = DaskWorkers(URL, None)
    asked(workers, tmp_path)
    run = workers._run
    counted: Counter[str] = Counter()
    steps = []
    for message in (
        {"run": run, "file": "f", "done": 30},
        {"run": run, "file": "f", "done": 10},
        {"run": "another", "file": "f", "done": 90},
        {"run": run, "file": "unknown", "done": 90},
        {"run": run, "file": "f", "done": 60},
    ):
        client.hear((0.0, message))
        workers.ticks.drain(lambda name, nbytes: counted.update({name: nbytes}))
        steps.append(counted["f"])
    assert steps == [30, 30, 30, 30, 60]
    client.sent[0].end("finished", written(tmp_path))
    client.hear((0.0, {"run": run, "file": "f", "done": 90}))
    workers.ticks.drain(lambda name, nbytes: counted.update({name: nbytes}))
    assert counted == {"f": 100}


def test_no_more_than_asked_for_at_once(tmp_path: Path, client: Client) -> None:
    """With a limit the next file is sent when one is done, also one that failed."""
    workers = DaskWorkers(URL, 2)
    futures = [asked(workers, tmp_path, name) for name in "abcd"]
    assert len(client.sent) == 2
    client.sent[0].end("error", StorageError("full", hint="free space"))
    assert len(client.sent) == 3
    client.sent[2].end("finished", written(tmp_path, "c"))
    assert len(client.sent) == 4
    assert [future.done() for future in futures] == [True, False, True, False]


def test_what_is_not_done_is_cancelled(tmp_path: Path, client: Client) -> None:
    """A shutdown cancels what was sent, sends nothing more, and accepts nothing more."""
    workers = DaskWorkers(URL, 1)
    first, second = asked(workers, tmp_path, "a"), asked(workers, tmp_path, "b")
    workers.shutdown(wait=True, cancel_futures=True)
    assert client.cancelled == client.sent[:1]
    client.sent[0].end("finished", written(tmp_path, "a"))
    assert isinstance(first.exception(), CancelledError)
    assert not second.done()
    assert os.listdir(tmp_path) == ["~a"]


class KilledWorker(Exception):  # noqa: N818 - the name is Dask's
    """Called as Dask's own, which the error is recognised by."""


@pytest.mark.parametrize(
    ("status", "outcome", "kind", "message"),
    [
        ("error", UsageError("other", hint="x"), UsageError, "^other$"),
        ("error", KilledWorker("Attempted to run\nmore"), StorageError, "'f' was lost: Attempted"),
        ("error", ModuleNotFoundError("No module named 'shardctl'"), UsageError, "no shardctl"),
        ("error", ValueError("x" * 999), StorageError, "could not write 'f': ValueError: x{300}$"),
        ("cancelled", None, StorageError, "tcp://host:8786 is gone"),
        ("lost", None, StorageError, "tcp://host:8786 is gone"),
    ],
)
def test_every_failure_is_an_error_of_ours(
    tmp_path: Path,
    client: Client,
    status: str,
    outcome: object,
    kind: type[ShardctlError],
    message: str,
) -> None:
    """Whatever ends a task says what was not written, or where, and what to do."""
    future = asked(DaskWorkers(URL, None), tmp_path)
    client.sent[0].end(status, outcome)
    with pytest.raises(kind, match=message) as caught:
        future.result()
    assert caught.value.hint


def test_a_file_that_is_not_seen_is_an_error(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that wrote somewhere else is named."""
    monkeypatch.setattr(dask, "_SEEN_SECONDS", 0)
    future = asked(DaskWorkers(URL, None), tmp_path)
    report = written(tmp_path)
    os.remove(str(report.path))
    client.sent[0].end("finished", report)
    with pytest.raises(StorageError, match=r"the worker w1 wrote .* this machine does not see"):
        future.result()


def test_a_file_may_be_seen_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that shows a file only after a while is given time."""
    monkeypatch.setattr(dask, "_EVENT_SECONDS", 0.01)
    store = MemoryStore()
    threading.Timer(0.2, lambda: put(store, "late", b"x")).start()
    assert dask._is_seen(store, "late")
