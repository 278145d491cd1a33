"""Files that are read from: opened when first needed, few at a time, and as they were seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Self

from shardctl.errors import SourceChangedError
from shardctl.model import Checkpoint, Version
from shardctl.stores.base import Reader, Store
from shardctl.stores.capabilities import Remote

#: Source files held open by one task; a merge of a thousand shards must stay under the limit of
#: open files.
OPEN_SOURCES = 32


@dataclass(slots=True)
class _Open:
    """An open file, how many read from it, and whether the last one of them closes it."""

    reader: Reader
    users: int = 0
    leaving: bool = False


class Sources:
    """Open files by path, for several threads at once.

    The version of each is compared with the planned one when the file is opened and when it is
    closed.
    """

    def __init__(self, store: Store, versions: Mapping[str, Version]) -> None:
        self._store = store
        self._versions = versions
        self._open: dict[str, _Open] = {}  # the least recently used first
        self._lock = Lock()

    @classmethod
    def of(cls, store: Store, checkpoint: Checkpoint) -> Self:
        """Return the files of a checkpoint, in the versions whose headers were read."""
        return cls(store, checkpoint.versions)

    @property
    def remote(self) -> bool:
        """Whether the files lie across a network."""
        return isinstance(self._store, Remote)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files, those that are in use when they no longer are."""
        with self._lock:
            for source in self._open.values():
                source.leaving = True
                self._close_unused(source)
            self._open.clear()

    @contextmanager
    def reader(self, path: str) -> Iterator[Reader]:
        """Yield the open file, which stays open within the block.

        Raises SourceChangedError where it is not the one that was planned for, and what opening
        raises.
        """
        source = self._take(path)
        try:
            yield source.reader
        finally:
            with self._lock:
                source.users -= 1
                if source.leaving:
                    self._close_unused(source)

    def check_unchanged(self) -> None:
        """Raise SourceChangedError where an open source has changed since it was opened."""
        with self._lock:
            for source in self._open.values():
                self._compare(source.reader)

    def _take(self, path: str) -> _Open:
        with self._lock:
            source = self._open.pop(path, None)
            if source is None:
                self._close_idle()
                source = _Open(self._store.open(path))
            self._open[path] = source
            if source.reader.version != self._versions[path]:
                raise source_changed(path)
            source.users += 1
            return source

    def _close_idle(self) -> None:
        """Make room for one more, where a file that is not in use can be closed."""
        idle = next((path for path, source in self._open.items() if not source.users), None)
        if len(self._open) >= OPEN_SOURCES and idle is not None:
            reader = self._open.pop(idle).reader
            try:
                self._compare(reader)
            finally:
                reader.close()

    @staticmethod
    def _close_unused(source: _Open) -> None:
        if not source.users:
            source.reader.close()

    def _compare(self, reader: Reader) -> None:
        if reader.current() != self._versions[reader.path]:
            raise source_changed(reader.path)


def source_changed(path: str) -> SourceChangedError:
    """Return the error for a source that is not the file that was planned for."""
    return SourceChangedError(
        f"'{path}' changed while it was read",
        hint="wait until no other program writes it, and run the same command again",
        file=path,
    )
