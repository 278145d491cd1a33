"""A bucket in memory, for tests: objects that appear when their uploads are completed.

Paths are separated by `/`, and begin with it or not; directories are those that objects lie in.
What one store object has read it remembers until `forget` is called, as those across a network
do.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from shardctl.errors import (
    InputError,
    LockedError,
    MissingError,
    SourceChangedError,
    StorageError,
    TargetExistsError,
)
from shardctl.model import Extent, Version
from shardctl.stores.base import Entry, EntryKind, Store
from shardctl.stores.uploads import PartLimits, SentPart, Upload
from shardctl.testing.place import (
    MARKS,
    BucketReader,
    BucketWriter,
    Place,
    StoredObject,
    key_of,
)


class MemoryBucket:
    """Store of the objects of a `Place`, whose parts may be very small.

    Two that are equal have the same place, and the server copies between them.
    """

    def __init__(self, place: Place | None = None, limits: PartLimits | None = None) -> None:
        self.place = place or Place()
        self._limits = limits or PartLimits(8, 64, 10_000)
        self._seen: dict[str, StoredObject] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryBucket) and other.place is self.place

    def __hash__(self) -> int:
        return id(self.place)

    # What every store does.

    def join(self, directory: str, *names: str) -> str:
        """Return the path of a name in a directory."""
        return "/".join([*([directory.rstrip("/")] if directory else []), *names])

    def split(self, path: str) -> tuple[str, str]:
        """Return the directory and the last name of a path."""
        return posixpath.split(path.rstrip("/"))

    def same(self, one: str, other: str) -> bool:
        """Whether two paths are one, and lead to an object or a directory."""
        return key_of(one) == key_of(other) and self.kind(one) is not None

    def kind(self, path: str) -> EntryKind | None:
        """Return what a path leads to; a directory where an object lies below it."""
        key, objects = key_of(path), self._objects()
        if key in objects:
            return "file"
        there = not key or any(each.startswith(f"{key}/") for each in objects)
        return "directory" if there else None

    def version(self, path: str) -> Version:
        """Return the version of an object now; raises as `open` does."""
        found = self.place.objects.get(key_of(path))
        return self._at(path).version if found is None else found.version

    def list(self, directory: str) -> list[Entry]:
        """Return the names in a directory, sorted; raises MissingError and InputError."""
        kind = self.kind(directory)
        if kind is None:
            raise _missing(directory)
        if kind != "directory":
            raise InputError(
                f"'{directory}' is not a directory", hint="name a directory", file=directory
            )
        below = f"{key_of(directory)}/".lstrip("/")
        found: dict[str, Entry] = {}
        for key, each in self._objects().items():
            name, slash, _ = key.removeprefix(below).partition("/")
            if key.startswith(below):
                size = 0 if slash else len(each.data)
                found[name] = Entry(name, "directory" if slash else "file", None, size)
        return [found[name] for name in sorted(found)]

    def open(self, path: str) -> BucketReader:
        """Open an object; raises MissingError, and InputError (`file-not-regular`)."""
        return BucketReader(path, self._at(path))

    def create(self, path: str, nbytes: int) -> BucketWriter:
        """Create an object of `nbytes` bytes; raises TargetExistsError."""
        self.forget()
        if self.kind(path) is not None:
            raise TargetExistsError(f"'{path}' already exists", hint="choose another", file=path)
        return BucketWriter(self.place, path, nbytes, self.forget)

    def make_directory(self, path: str) -> None:
        """Do nothing, but raise TargetExistsError where an object has that name."""
        if self.kind(path) == "file":
            raise TargetExistsError(f"'{path}' is a file", hint="choose another name", file=path)

    def rename(self, old: str, new: str) -> None:
        """Give an object another name."""
        self.forget()
        with self.place.guard:
            found = self.place.objects.get(key_of(old))
            if found is None:
                raise _failed(new, f"cannot be made from '{old}', which does not exist")
            self.place.objects[key_of(new)] = found
            if key_of(old) != key_of(new):
                del self.place.objects[key_of(old)]

    def remove(self, path: str) -> None:
        """Remove an object; one that does not exist is not an error."""
        self.forget()
        if self.kind(path) == "directory":
            raise _failed(path, "is a directory")
        self.place.objects.pop(key_of(path), None)
        self.forget()

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Hold a lock, which is an object; raises LockedError."""
        with self.place.guard:
            if key_of(path) in self.place.objects:
                raise LockedError(f"'{path}' is held by another run", hint="wait", file=path)
            self.put(path, b"")
        try:
            yield
        finally:
            self.remove(path)

    # Uploads.

    @property
    def part_limits(self) -> PartLimits:
        """The limits that were given, of a few bytes."""
        return self._limits

    def begin_upload(self, path: str) -> Upload:
        """Begin to upload an object."""
        upload = Upload(path, f"upload-{next(MARKS)}", f"token-{next(MARKS)}")
        self.place.uploads[upload.id] = (upload, {})
        return upload

    def send_part(
        self, upload: Upload, number: int, data: bytes | bytearray | memoryview
    ) -> SentPart:
        """Send a part; raises StorageError for one that is too large, or without the upload."""
        if len(data) > self._limits.most or number > self._limits.count:
            raise _failed(upload.path, "has a part that is too large, or too many")
        sent = SentPart(number, len(data), str(next(MARKS)))
        try:
            self._parts(upload)[number] = (sent, bytes(data))
        except MissingError as gone:
            raise StorageError(gone.message, hint=gone.hint, file=upload.path) from None
        return sent

    def sent_parts(self, upload: Upload) -> tuple[SentPart, ...]:
        """Return the parts that are there, in order; raises MissingError without the upload."""
        parts = self._parts(upload)
        return tuple(parts[number][0] for number in sorted(parts))

    def complete_upload(
        self, upload: Upload, parts: Sequence[SentPart], replaces: Version | None
    ) -> Version:
        """Let the object appear; raises TargetExistsError and StorageError."""
        with self.place.guard:
            self.forget()
            there = self.place.objects.get(key_of(upload.path))
            if upload.id not in self.place.uploads:
                if there is not None and there.token == upload.token:
                    return there.version
                raise StorageError(
                    f"the upload of '{upload.path}' is gone",
                    hint='run the command again with `replace="same"`',
                    code="half-done",
                    file=upload.path,
                )
            if (None if there is None else there.version) != replaces:
                raise TargetExistsError(
                    f"'{upload.path}' appeared or changed",
                    hint="move it to another directory, and run the same command again",
                    code="target-changed",
                    file=upload.path,
                )
            held = self._parts(upload)
            if any(held.get(part.number, (None,))[0] != part for part in parts):
                raise _failed(upload.path, "lacks a part")
            if any(part.nbytes < self._limits.least for part in parts[:-1]):
                raise _failed(upload.path, "has a part that is too small")
            data = b"".join(held[part.number][1] for part in parts)
            done = StoredObject(data, upload.token)
            self.place.objects[key_of(upload.path)] = done
            del self.place.uploads[upload.id]
            return done.version

    def abort_upload(self, upload: Upload) -> None:
        """Forget an upload; one that is gone already is fine."""
        self.place.uploads.pop(upload.id, None)

    def uploads(self, directory: str) -> Sequence[Upload]:
        """Return the uploads that have begun and not ended, of objects below a directory."""
        below = f"{key_of(directory)}/".lstrip("/")
        found = [upload for upload, _ in list(self.place.uploads.values())]
        return [Upload(each.path, each.id) for each in found if key_of(each.path).startswith(below)]

    def put(self, path: str, data: bytes) -> None:
        """Write a small object in one step."""
        self.forget()
        self.place.objects[key_of(path)] = StoredObject(data)

    def put_new(self, path: str, data: bytes) -> bool:
        """Write a small object in one step under a free name; return whether it was free."""
        with self.place.guard:
            free = key_of(path) not in self.place.objects
            if free:
                self.put(path, data)
            return free

    def remove_version(self, path: str, version: Version) -> bool:
        """Remove an object of this version; return whether none is there now."""
        with self.place.guard:
            self.forget()
            there = self.place.objects.get(key_of(path))
            if there is not None and there.version == version:
                del self.place.objects[key_of(path)]
                return True
            return there is None

    def forget(self) -> None:
        """Look at the objects afresh."""
        self._seen = None

    # Copies by the server.

    def can_copy_from(self, source: Store) -> bool:
        """Whether another store has the same place."""
        return source == self

    def copy_part(
        self, upload: Upload, number: int, extent: Extent, version: Version
    ) -> SentPart | None:
        """Let a range of an object be a part; raises SourceChangedError."""
        with self.open(extent.path) as reader:
            if reader.version != version:
                raise SourceChangedError(
                    f"'{extent.path}' changed", hint="run it again", file=extent.path
                )
            return self.send_part(upload, number, reader.read(extent.offset, extent.length))

    def _parts(self, upload: Upload) -> dict[int, tuple[SentPart, bytes]]:
        if upload.id not in self.place.uploads:
            raise MissingError(
                f"the upload of '{upload.path}' is gone", hint="begin again", file=upload.path
            )
        return self.place.uploads[upload.id][1]

    def _objects(self) -> dict[str, StoredObject]:
        """What there was when it was first looked at."""
        if self._seen is None:
            with self.place.guard:
                self._seen = dict(self.place.objects)
        return self._seen

    def _at(self, path: str) -> StoredObject:
        found = self._objects().get(key_of(path))
        if found is not None:
            return found
        if self.kind(path) is None:
            raise _missing(path)
        raise InputError(
            f"'{path}' is not a file", hint="name a file", code="file-not-regular", file=path
        )


def _missing(path: str) -> MissingError:
    return MissingError(f"'{path}' does not exist", hint="check the path", file=path)


def _failed(path: str, why: str) -> StorageError:
    return StorageError(f"'{path}' {why}", hint="check the path", file=path)
