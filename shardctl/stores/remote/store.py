"""A store whose files are those of a client, read with few requests.

What a directory holds is asked once for each, and the first request for a file brings its version
and its beginning along. From then on every answer must be of that version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import NoReturn, Self, TypeVar

from shardctl.errors import InputError, MissingError, TargetError, UsageError
from shardctl.model import Version
from shardctl.stores.base import Entry, EntryKind, Writer
from shardctl.stores.capabilities import Traffic
from shardctl.stores.faults import not_regular, shown
from shardctl.stores.remote.client import TOO_EARLY, Client, TransientError, at_most
from shardctl.stores.remote.reader import END_BYTES, RemoteReader
from shardctl.stores.remote.retry import Patience, retried

Result = TypeVar("Result")

#: Files whose first bytes are kept for the one who opens them next.
_MOST_WAITING = 64


@dataclass(slots=True)
class _Seen:
    """What is known of the place: listings by directory, versions of files, and open files.

    `absent` are paths that do not exist. `waiting` are files that were looked at by their first
    bytes, and that were not opened since.
    """

    entries: dict[str, dict[str, Entry] | None] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    waiting: dict[str, RemoteReader] = field(default_factory=dict)


class RemoteFiles:
    """The files below `base`, a URL without a slash at its end, for those who read them."""

    def __init__(self, base: str, client: Client, patience: Patience | None = None) -> None:
        self.base = base
        self._client = client
        self._patience = patience or Patience()
        self._seen = _Seen()
        self._lock = Lock()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteFiles) and other.base == self.base

    def __hash__(self) -> int:
        return hash(self.base)

    def __reduce__(self) -> tuple[type[Self], tuple[str, Client, Patience]]:
        # What was seen is left out: another process compares versions with those of its task.
        return type(self), (self.base, self._client, self._patience)

    @property
    def at_once(self) -> int:
        """How many files to read at once."""
        return self._client.at_once

    def traffic(self) -> Traffic:
        """Return what was asked for and received so far."""
        return Traffic(self._client.requests, self._client.nbytes)

    def join(self, directory: str, *names: str) -> str:
        """Return the path of a name in a directory."""
        return "/".join([*([directory.rstrip("/")] if directory else []), *names])

    def split(self, path: str) -> tuple[str, str]:
        """Return the directory and the last name of a path; a slash at its end does not count."""
        directory, _, name = path.rstrip("/").rpartition("/")
        return directory, name

    def same(self, one: str, other: str) -> bool:
        """Whether two paths are one, and lead to a file or a directory."""
        return one.rstrip("/") == other.rstrip("/") and self.kind(one) is not None

    def kind(self, path: str) -> EntryKind | None:
        """Return what a path leads to, by the listing of its directory or by asking for it."""
        path = path.rstrip("/")
        if path in ("", self.base):
            return "directory"
        if not self._is_within(path):
            return None
        directory, name = self.split(path)
        if directory not in self._seen.entries and self._entries(path):
            return "directory"
        entries = self._entries(directory) if self._is_within(directory) else {}
        if entries is not None:
            entry = entries.get(name)
            return None if entry is None else entry.kind
        return self._kind_unlisted(path)

    def version(self, path: str) -> Version:
        """Return the version that the file has now; raises as `open` does."""
        version = self._asked(path, lambda: self._client.version(path))
        with self._lock:
            self._seen.waiting.pop(path, None)
            self._seen.versions[path] = version
        return version

    def list(self, directory: str) -> list[Entry]:
        """Return the names in a directory, sorted; raises MissingError and InputError.

        Of a place that lists nothing, the files that were found there by their names.
        """
        kind = self.kind(directory)
        if kind is None:
            raise _missing(directory)
        if kind != "directory":
            raise InputError(
                f"{shown(directory)} is not a directory", hint="name a directory", file=directory
            )
        entries = self._entries(directory.rstrip("/")) if directory else {}
        found = self._found_in(directory) if entries is None else entries.values()
        return sorted(found, key=lambda entry: entry.name)

    def open(self, path: str) -> RemoteReader:
        """Open a file; raises MissingError, InputError (`file-not-regular`) and StorageError.

        Of a file that was seen before, nothing is asked: the version is compared with each answer.
        """
        with self._lock:
            waiting = self._seen.waiting.pop(path, None)
            version = self._seen.versions.get(path)
        if waiting is not None:
            return waiting
        if version is not None:
            return RemoteReader(self._client, path, version, self._patience)
        reader = self._opened(path)
        with self._lock:
            self._seen.versions[path] = reader.version
        return reader

    def forget(self) -> None:
        """Look at the place afresh from now on: another program may have changed it."""
        with self._lock:
            self._seen = _Seen()

    def _changed(self, path: str) -> None:
        """Forget what is known of a file, and of the directories that it lies in."""
        path = path.rstrip("/")
        with self._lock:
            self._seen.versions.pop(path, None)
            self._seen.waiting.pop(path, None)
            self._seen.absent.discard(path)
            for listed in [*self._seen.entries]:
                if path == listed or path.startswith(f"{listed}/"):
                    del self._seen.entries[listed]

    def _is_within(self, path: str) -> bool:
        return path == self.base or path.startswith(f"{self.base}/")

    def _entries(self, directory: str) -> dict[str, Entry] | None:
        """Return a directory's listing by name, asked once; None where the place has none."""
        with self._lock:
            if directory in self._seen.entries:
                return self._seen.entries[directory]
        listed = retried(directory, self._patience, lambda: self._client.entries(directory))
        entries = None if listed is None else {entry.name: entry for entry in listed}
        with self._lock:
            self._seen.entries[directory] = entries
        return entries

    def _kind_unlisted(self, path: str) -> EntryKind | None:
        if path in self._seen.absent:
            return None
        if path in self._seen.versions:
            return "file"
        if self._found_in(path):
            return "directory"
        try:
            reader = self._opened(path)
        except MissingError:
            self._seen.absent.add(path)
            return None
        with self._lock:
            self._seen.versions[path] = reader.version
            if len(self._seen.waiting) < _MOST_WAITING:
                self._seen.waiting[path] = reader
        return "file"

    def _found_in(self, directory: str) -> Sequence[Entry]:
        """Return the names in a directory that is not listed, of which a file was seen."""
        below = f"{directory.rstrip('/')}/"
        with self._lock:
            seen = {path: version.size for path, version in self._seen.versions.items()}
        names: dict[str, Entry] = {}
        for path, size in seen.items():
            name, slash, _ = path.removeprefix(below).partition("/")
            if path.startswith(below):
                kind: EntryKind = "directory" if slash else "file"
                names[name] = Entry(name, kind, None, 0 if slash else size)
        return tuple(names.values())

    def _opened(self, path: str) -> RemoteReader:
        """Ask for the first bytes of a file, and with them for its version."""

        def ask() -> RemoteReader:
            with self._client.ranged(path, 0, END_BYTES, None) as answer:
                length = min(END_BYTES, answer.version.size)
                head = b"".join(at_most(path, length, answer.chunks))
                if len(head) < length:
                    raise TransientError(TOO_EARLY)
                return RemoteReader(self._client, path, answer.version, self._patience, head)

        return self._asked(path, ask)

    def _asked(self, path: str, ask: Callable[[], Result]) -> Result:
        """Return what `ask` does about a file; a directory is not one."""
        if not self._is_within(path):
            raise not_regular(path) if self.kind(path) == "directory" else _missing(path)
        try:
            return retried(path, self._patience, ask)
        except MissingError:
            if path == self.base or self._entries(path) or self._found_in(path):
                raise not_regular(path) from None
            raise


class RemoteStore(RemoteFiles):
    """A store in which nothing is written."""

    def refusal(self, path: str) -> UsageError:
        """Return the error for a path here that something would be written to."""
        scheme = self.base.partition("://")[0]
        return UsageError(
            f"{shown(path)} cannot be written: files of {scheme}:// are only read",
            hint="choose a directory of this machine as the target, and upload it from there",
            file=path,
        )

    def create(self, path: str, nbytes: int) -> Writer:  # noqa: ARG002 - nothing is created
        """Raise TargetError."""
        self._refuse(path)

    def make_directory(self, path: str) -> None:
        """Raise TargetError."""
        self._refuse(path)

    def rename(self, old: str, new: str) -> None:  # noqa: ARG002 - nothing is renamed
        """Raise TargetError."""
        self._refuse(new)

    def remove(self, path: str) -> None:
        """Raise TargetError."""
        self._refuse(path)

    def _refuse(self, path: str) -> NoReturn:
        refusal = self.refusal(path)
        raise TargetError(refusal.message, hint=refusal.hint, file=path)


def _missing(path: str) -> MissingError:
    return MissingError(f"{shown(path)} does not exist", hint="check the URL", file=path)
