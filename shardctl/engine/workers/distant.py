"""A task on another machine: what is compared there first, and under which name it writes.

The machine must have the same program, and see the same files. The same task may run there again
after another worker was killed or lost sight of, which may even be at work still. So each try
writes a file of another name, and removes it if it fails; the process that holds the lock of the
run gives the one that it accepts its staged name, and removes the others. In an object store each
try is a separate upload, and none has a name.
"""

from __future__ import annotations

import pickle
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from shardctl._version import __version__
from shardctl.engine.task import ShardTask
from shardctl.engine.workers.executors import Write, Written
from shardctl.errors import MissingError, SourceChangedError, StorageError, UsageError
from shardctl.layout import Check
from shardctl.naming import try_name
from shardctl.stores.base import Store
from shardctl.stores.uploads import has_uploads
from shardctl.streams.progress import Tick

_MOUNT = "mount the same filesystem at the same path on every machine that runs workers"


class Program(NamedTuple):
    """The versions that must be the same on both sides: what is pickled depends on them."""

    shardctl: str
    python: str

    @classmethod
    def here(cls) -> Program:
        """Return those of this process."""
        return cls(__version__, ".".join(platform.python_version_tuple()[:2]))

    def __str__(self) -> str:
        return f"shardctl {self.shardctl} on Python {self.python}"


@dataclass(frozen=True, slots=True)
class Tried:
    """What a worker wrote: what it returned, and the path of the file that is to be renamed.

    The path is that in the target store; None where the file is uploaded, and has no name yet.
    """

    path: str | None
    written: Any
    worker: str


@dataclass(frozen=True, slots=True)
class Order:
    """A task as it is sent: pickled, so that versions can be compared before it is unpickled."""

    program: Program
    content: bytes

    @classmethod
    def of(cls, write: Write[Written], task: ShardTask, source: Store, target: Store) -> Order:
        """Return the order for a task, with the versions of the sources that it reads only."""
        layout = task.layout
        checked = (piece.extent.path for piece in layout.pieces if isinstance(piece, Check))
        sources = {path: task.sources[path] for path in {*layout.paths(), *checked}}
        own = replace(task, sources=sources)
        return cls(Program.here(), pickle.dumps((write, own, source, target)))


def carry_out(order: Order, worker: str, tick: Tick) -> Tried:
    """Write the file of an order, durably, under a new name beside its staged name.

    `worker` names this one in errors. Raises UsageError where the versions differ, StorageError
    where the files are not seen here, and what the order's function raises; then the file is gone
    again.
    """
    worker = f"{worker} on {platform.node()}"
    here = Program.here()
    if order.program != here:
        raise UsageError(
            f"the worker {worker} has {here}, and the machine that planned has {order.program}",
            hint="install the same versions on both, and start the workers again",
        )
    write: Write[object]
    task: ShardTask
    source: Store
    target: Store
    # S301: it comes from the run's own machine.
    write, task, source, target = pickle.loads(order.content)  # noqa: S301
    _look(task, source, target, worker)
    with _named(worker):
        if has_uploads(target):
            return Tried(None, write(task, source, target, tick), worker)
        path = target.join(target.split(task.staged)[0], try_name())
        try:
            return Tried(path, write(replace(task, staged=path), source, target, tick), worker)
        except BaseException:
            target.remove(path)
            raise


@contextmanager
def _named(worker: str) -> Iterator[None]:
    """Name the worker in an error: its disk, its network and its credentials are its own."""
    try:
        yield
    except StorageError as error:
        error.message += f" (the worker {worker})"
        raise


def _look(task: ShardTask, source: Store, target: Store, worker: str) -> None:
    """Compare what is seen here with what was seen where the run was planned."""
    directory = target.split(task.staged)[0]
    # In an object store there are no directories, but those that something lies in.
    if not has_uploads(target) and target.kind(directory) != "directory":
        raise StorageError(
            f"the worker {worker} does not see the target: there is no '{directory}'",
            hint=_MOUNT,
            file=directory,
        )
    for path, version in task.sources.items():
        try:
            found = source.version(path)
        except MissingError as error:
            raise StorageError(
                f"the worker {worker} does not see the source '{path}'", hint=_MOUNT, file=path
            ) from error
        if found != version:
            raise SourceChangedError(
                f"the worker {worker} sees another '{path}' than the one that was planned for",
                hint=f"{_MOUNT}; if the file has changed since, run the same command again",
                file=path,
            )
