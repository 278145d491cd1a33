"""Workers that are those of a Dask cluster: each task is one of its tasks, which it may repeat.

Dask runs a task again where the worker that had it is lost, up to its `allowed-failures` (3 unless
the scheduler's configuration says otherwise). What a worker writes has a name that no other has
(`distant`); here, where the lock of the run is held, the file that came first gets its staged name.

What is sent is `pickle.loads` and bytes, which make the call as they are unpickled: Dask unpickles
functions and arguments on the scheduler, too, and outside of the task, where a worker without
shardctl would not report that it fails.

Progress comes as events of the scheduler, at most two a second from each task: bytes so far, so
that a task which is repeated does not count twice, and lost events do not matter. A worker looks
after each piece whether its task is still wanted; it is not once the client has cancelled it, has
closed its connection, or has died.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any
from uuid import uuid4

from shardctl.engine.task import ShardTask
from shardctl.engine.workers.distant import Order, Program, Tried, carry_out
from shardctl.engine.workers.executors import Executor, Write, Written
from shardctl.errors import ShardctlError, StorageError, UsageError
from shardctl.stores.base import Store
from shardctl.stores.remote.extras import needed
from shardctl.streams.progress import CancelledError, Ticks
from shardctl.text import escape

#: Seconds to wait for the scheduler's answer.
_CONNECT_SECONDS, _CLOSE_SECONDS = 15, 5
#: Seconds between the events of one task.
_EVENT_SECONDS = 0.5
#: Seconds until a file must be seen here that a worker has written: a filesystem across a network
#: may remember for that long that a name was free (acdirmax in nfs(5) is 60 by default).
_SEEN_SECONDS = 90.0
#: Characters of an error of which nothing is known.
_MOST_CHARACTERS = 300
#: The topic of the events, the same for all runs: the scheduler keeps the last events of each.
_TOPIC = "shardctl"
#: States of a task, on its worker, that is to go on. "resumed": it was cancelled, and is wanted
#: again.
_WANTED = ("executing", "resumed")


def dask_workers(url: str, most: int | None) -> Executor:
    """Return what connects to the scheduler at a URL.

    At most `most` files are written at once; None leaves it to the cluster. Raises UsageError where
    Dask is not installed.
    """
    with needed("distributed", "dask", url):
        import distributed  # noqa: F401, PLC0415 - said before anything is read
    return lambda _: DaskWorkers(url, most)


@dataclass(slots=True)
class _Asked:
    """A task that was asked for: what is resolved when its file has its staged name.

    `done` are the bytes that were counted, `sent` is Dask's future, which keeps the task alive.
    """

    write: Write[Any]
    task: ShardTask
    source: Store
    target: Store
    future: Future[Any] = field(default_factory=Future)
    done: int = 0
    sent: Any = None


class DaskWorkers:
    """The workers of a cluster, from the moment when the client is connected."""

    def __init__(self, url: str, most: int | None) -> None:
        """Connect. Raises StorageError where no scheduler answers."""
        self.ticks = Ticks()
        self._url = url
        self._most = most
        self._run = uuid4().hex
        self._lock = Lock()
        self._waiting: deque[_Asked] = deque()
        self._asked: dict[str, _Asked] = {}
        self._closed = False
        self._client = _connect(url)
        self._client.subscribe_topic(_TOPIC, self._hear)

    def write(
        self, write: Write[Written], task: ShardTask, source: Store, target: Store
    ) -> Future[Written]:
        asked = _Asked(write, task, source, target)
        with self._lock:
            self._waiting.append(asked)
        self._submit()
        return asked.future

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:  # noqa: ARG002 - see below
        """Cancel what is not done, and disconnect.

        What is being written on a worker stops at its next piece. It is not waited for: its
        result is not accepted any more.
        """
        with self._lock:
            self._closed = True
            self._waiting.clear()
            sent = [asked.sent for asked in self._asked.values() if asked.sent is not None]
        # A scheduler that is gone has cancelled everything.
        with suppress(Exception):
            self._client.cancel(sent)
            self._client.close(timeout=_CLOSE_SECONDS)

    def _submit(self) -> None:
        """Send tasks, as far as there is room."""
        while (asked := self._next()) is not None:
            key = f"shardctl-{asked.task.filename}-{self._run}"
            order = Order.of(asked.write, asked.task, asked.source, asked.target)
            try:
                call = pickle.dumps(_Call(order, self._run, asked.task.filename))
                asked.sent = self._client.submit(pickle.loads, call, key=key, pure=False)
                asked.sent.add_done_callback(partial(self._answered, asked))
            except Exception as error:
                self._end(asked, self._as_ours(error, asked.task))

    def _next(self) -> _Asked | None:
        with self._lock:
            full = self._most is not None and len(self._asked) >= self._most
            if self._closed or full or not self._waiting:
                return None
            asked = self._waiting.popleft()
            self._asked[asked.task.filename] = asked
            return asked

    def _answered(self, asked: _Asked, sent: Any) -> None:
        """Accept what a worker has written. Called by a thread of the client."""
        result: object
        try:
            if sent.status in ("finished", "error"):
                result = self._accept(asked, sent.result())
            else:
                result = self._lost(asked.task)
        except Exception as error:
            result = self._as_ours(error, asked.task)
        self._end(asked, result)
        self._submit()

    def _lost(self, task: ShardTask) -> StorageError:
        return StorageError(
            f"the scheduler at {self._url} is gone, or has cancelled '{escape(task.filename)}'",
            hint="start the cluster, and run the command again: finished files are kept",
        )

    def _accept(self, asked: _Asked, tried: Tried) -> object:
        target, task = asked.target, asked.task
        with self._lock:
            if self._closed:
                raise CancelledError
        if tried.path is not None:
            if not _is_seen(target, tried.path):
                raise StorageError(
                    f"the worker {tried.worker} wrote '{tried.path}', which this machine does not "
                    "see",
                    hint="mount the same filesystem at the same path on every machine",
                    file=tried.path,
                )
            target.rename(tried.path, task.staged)
        self._count(asked, task.layout.nbytes)
        return tried.written

    def _end(self, asked: _Asked, result: object) -> None:
        with self._lock:
            self._asked.pop(asked.task.filename, None)
        if isinstance(result, BaseException):
            asked.future.set_exception(result)
        else:
            asked.future.set_result(result)

    def _hear(self, event: tuple[float, Any]) -> None:
        """Count what an event says that was done. Called by the client's thread."""
        message = event[1]
        if message.get("run") == self._run:
            with self._lock:
                asked = self._asked.get(message["file"])
            if asked is not None:
                self._count(asked, min(message["done"], asked.task.layout.nbytes))

    def _count(self, asked: _Asked, done: int) -> None:
        with self._lock:
            more, asked.done = done - asked.done, max(done, asked.done)
        # Zero says that the file is worked on.
        self.ticks.events.put((asked.task.filename, max(more, 0)))

    def _as_ours(self, error: BaseException, task: ShardTask) -> BaseException:
        """Return the error of a task as one of shardctl's."""
        if isinstance(error, (ShardctlError, CancelledError)):
            return error
        name = escape(task.filename)
        if type(error).__name__ == "KilledWorker":
            return StorageError(
                f"every worker that had '{name}' was lost: {escape(str(error).splitlines()[0])}",
                hint="look into the workers' logs (memory limits kill workers), and run the "
                "command again: finished files are kept",
            )
        if isinstance(error, ModuleNotFoundError) and "shardctl" in str(error):
            return UsageError(
                f"a worker of {self._url} has no shardctl, or one without this ability; "
                f"this machine has {Program.here()}",
                hint="install the same version where the workers run, and start them again",
            )
        return StorageError(
            f"the cluster at {self._url} could not write '{name}': "
            f"{type(error).__name__}: {escape(str(error)[:_MOST_CHARACTERS])}",
            hint="look into the workers' logs: they must have the same shardctl and what it needs",
        )


def _connect(url: str) -> Any:
    """Return a client of a scheduler; raises StorageError where none answers."""
    from distributed import Client  # noqa: PLC0415 - when it is asked for

    try:
        return Client(url, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # a timeout is an OSError
        raise StorageError(
            f"no Dask scheduler answers at {url}: {escape(str(error))}",
            hint="start the scheduler, or correct the address that `scheduler` has",
        ) from error


def _is_seen(target: Store, path: str) -> bool:
    """Whether a file is seen here, now or soon."""
    until = time.monotonic() + _SEEN_SECONDS
    while target.kind(path) != "file":
        if time.monotonic() > until:
            return False
        time.sleep(_EVENT_SECONDS)
    return True


@dataclass(frozen=True)
class _Call:
    """A call of `_work`, which is made by unpickling this."""

    order: Order
    run: str
    filename: str

    def __reduce__(self) -> tuple[Callable[..., Tried], tuple[Order, str, str]]:
        return _work, (self.order, self.run, self.filename)


def _work(order: Order, run: str, filename: str) -> Tried:
    """Carry out an order on a worker.

    Raises what `carry_out` does, and any other error as a ShardctlError: not all can be sent back.
    """
    from distributed import get_worker  # noqa: PLC0415 - when it is asked for

    worker = get_worker()
    try:
        return carry_out(order, worker.address, _WorkerTick(worker, run, filename))
    except (ShardctlError, CancelledError):
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {error}"[:_MOST_CHARACTERS]
        raise ShardctlError(
            f"the worker {worker.address} failed: {text}",
            hint="this is a bug in shardctl, or an environment that differs: the worker's log has "
            "the traceback",
        ) from None


class _WorkerTick:
    """The tick of one task on a worker, for any number of threads."""

    def __init__(self, worker: Any, run: str, filename: str) -> None:
        self._worker = worker
        self._key = worker.get_current_task()
        self._message = {"run": run, "file": filename}
        self._lock = Lock()
        self._done = 0
        self._sent = 0.0

    def __call__(self, nbytes: int) -> None:
        """Count bytes done; raises CancelledError where the task is not wanted any more."""
        state = self._worker.state.tasks.get(self._key)
        if state is None or state.state not in _WANTED:
            raise CancelledError
        with self._lock:
            self._done += nbytes
            now = time.monotonic()
            if now < self._sent + _EVENT_SECONDS:
                return
            self._sent, done = now, self._done
        self._worker.log_event(_TOPIC, {**self._message, "done": done})
