"""What a store with uploads must hold, and one whose server copies parts, beside `StoreSuite`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from shardctl.errors import MissingError, SourceChangedError, StorageError, TargetExistsError
from shardctl.model import Extent, Version
from shardctl.stores.base import Store
from shardctl.stores.uploads import CopiesParts, SentPart, Upload, Uploads, UploadStore, has_uploads
from shardctl.testing.suites.fixtures import DATA, Fill, StoreFixtures, read


class _Uploading(StoreFixtures):
    """What both suites need."""

    @pytest.fixture
    def uploads(self, store: Store) -> UploadStore:
        """The store under test."""
        assert has_uploads(store)
        return store


class UploadsSuite(_Uploading):
    """The promises of `Uploads`."""

    capability: ClassVar[type] = Uploads

    def _sent(self, uploads: UploadStore, path: str, mark: bytes) -> tuple[Upload, list[SentPart]]:
        """Begin an upload, and send its two parts, the second first."""
        upload = uploads.begin_upload(path)
        least = uploads.part_limits.least
        last = uploads.send_part(upload, 2, mark)
        return upload, [uploads.send_part(upload, 1, mark * least), last]

    def test_a_file_appears_when_its_upload_is_completed(
        self, uploads: UploadStore, root: str
    ) -> None:
        """Before that nothing is there; then the file is, with the parts in order of numbers."""
        path = uploads.join(root, "sub", "new")
        upload, parts = self._sent(uploads, path, b"x")
        assert uploads.kind(path) is None
        assert uploads.sent_parts(upload) == tuple(parts)
        assert [(each.path, each.id) for each in uploads.uploads(root)] == [(path, upload.id)]
        version = uploads.complete_upload(upload, parts, None)
        assert version == uploads.version(path)
        assert read(uploads, path) == b"x" * (uploads.part_limits.least + 1)
        assert uploads.uploads(root) == []

    def test_an_empty_file(self, uploads: UploadStore, root: str) -> None:
        """A file without bytes has one part without bytes."""
        path = uploads.join(root, "new")
        upload = uploads.begin_upload(path)
        part = uploads.send_part(upload, 1, b"")
        assert uploads.complete_upload(upload, [part], None).size == 0
        assert read(uploads, path) == b""

    def test_completing_again(self, uploads: UploadStore, root: str) -> None:
        """A completed upload can be completed again: the file is its own."""
        path = uploads.join(root, "new")
        upload, parts = self._sent(uploads, path, b"x")
        version = uploads.complete_upload(upload, parts, None)
        assert uploads.complete_upload(upload, parts, None) == version

    def test_a_file_is_replaced_only_in_the_version_that_was_seen(
        self, uploads: UploadStore, path: str
    ) -> None:
        """A file of another version, or where none was seen, stays as it is."""
        seen = uploads.version(path)
        upload, parts = self._sent(uploads, path, b"x")
        for other in (None, Version(seen.size, f"{seen.mark}0")):
            with pytest.raises(TargetExistsError) as caught:
                uploads.complete_upload(upload, parts, other)
            assert caught.value.code == "target-changed"
            assert caught.value.file == path
            assert read(uploads, path) == DATA
        assert uploads.complete_upload(upload, parts, seen) == uploads.version(path) != seen

    def test_a_file_that_is_gone_is_not_replaced(self, uploads: UploadStore, path: str) -> None:
        """A version that was seen and is not there any more is a change, too."""
        seen = uploads.version(path)
        upload, parts = self._sent(uploads, path, b"x")
        uploads.remove(path)
        with pytest.raises(TargetExistsError):
            uploads.complete_upload(upload, parts, seen)
        assert uploads.kind(path) is None

    def test_an_aborted_upload_is_gone(self, uploads: UploadStore, root: str, fill: Fill) -> None:
        """It has no parts and is not completed, also where another file has its name."""
        path = uploads.join(root, "new")
        upload, parts = self._sent(uploads, path, b"x")
        (found,) = uploads.uploads(root)
        uploads.abort_upload(found)
        uploads.abort_upload(upload)
        with pytest.raises(MissingError):
            uploads.sent_parts(upload)
        with pytest.raises(StorageError) as caught:
            uploads.complete_upload(upload, parts, None)
        assert (caught.value.code, caught.value.file) == ("half-done", path)
        fill(path, b"other")
        with pytest.raises((StorageError, TargetExistsError)):
            uploads.complete_upload(upload, parts, None)
        assert read(uploads, path) == b"other"

    def test_a_part_is_replaced(self, uploads: UploadStore, root: str) -> None:
        """A part that is sent again takes the place of the one before."""
        path = uploads.join(root, "new")
        upload = uploads.begin_upload(path)
        uploads.send_part(upload, 1, b"first")
        part = uploads.send_part(upload, 1, memoryview(b"second"))
        assert uploads.sent_parts(upload) == (part,)
        uploads.complete_upload(upload, [part], None)
        assert read(uploads, path) == b"second"

    def test_threads_send_at_once(self, uploads: UploadStore, root: str) -> None:
        """Parts may be sent by any number of threads, and are found in order of their numbers."""
        path = uploads.join(root, "new")
        upload, least = uploads.begin_upload(path), uploads.part_limits.least
        datas = [bytes([number]) * least for number in range(1, 4)]

        def send(number: int) -> SentPart:
            return uploads.send_part(upload, number, datas[number - 1])

        with ThreadPoolExecutor(3) as threads:
            parts: Sequence[SentPart] = list(threads.map(send, (3, 1, 2)))
        parts = sorted(parts, key=lambda part: part.number)
        assert uploads.sent_parts(upload) == tuple(parts)
        uploads.complete_upload(upload, parts, None)
        assert read(uploads, path) == b"".join(datas)

    def test_put(self, uploads: UploadStore, root: str) -> None:
        """A small file is written over one of the same name."""
        path = uploads.join(root, "sub", "state")
        for data in (b"one", b"two!"):
            uploads.put(path, data)
            assert read(uploads, path) == data
            assert uploads.kind(path) == "file"

    def test_put_new(self, uploads: UploadStore, root: str) -> None:
        """A small file is written under a free name only, also by one of several at once."""
        path = uploads.join(root, "sub", "state")
        assert uploads.put_new(path, b"one")
        assert not uploads.put_new(path, b"two")
        assert read(uploads, path) == b"one"
        other = uploads.join(root, "sub", "other")
        datas = [bytes([number]) for number in range(8)]
        with ThreadPoolExecutor(8) as threads:
            done = list(threads.map(lambda data: uploads.put_new(other, data), datas))
        assert done.count(True) == 1
        assert read(uploads, other) == datas[done.index(True)]

    def test_remove_version(self, uploads: UploadStore, path: str, fill: Fill) -> None:
        """A file is removed only in the version that was seen; one that is gone is fine."""
        seen = uploads.version(path)
        fill(path, DATA[::-1])
        uploads.forget()
        assert not uploads.remove_version(path, seen)
        assert read(uploads, path) == DATA[::-1]
        there = uploads.version(path)
        for _ in range(2):
            assert uploads.remove_version(path, there)
            assert uploads.kind(path) is None

    def test_forget(self, uploads: UploadStore, root: str, path: str, fill: Fill) -> None:
        """What another program did is seen after that."""
        uploads.list(root)
        fill(path, b"other")
        other = fill(uploads.join(root, "other"), b"x")
        uploads.forget()
        assert uploads.kind(other) == "file"
        assert [entry.size for entry in uploads.list(root)] == [5, 1]
        assert read(uploads, path) == b"other"


class CopiesPartsSuite(_Uploading):
    """The promises of `CopiesParts`."""

    capability: ClassVar[type] = CopiesParts

    def test_copy_part(self, uploads: UploadStore, root: str, fill: Fill) -> None:
        """A range of a file becomes a part between others, exactly."""
        assert isinstance(uploads, CopiesParts)
        least = uploads.part_limits.least
        data = bytes(range(251)) * (2 * least // 251 + 2)
        source = fill(uploads.join(root, "source"), data)
        assert uploads.can_copy_from(uploads)
        upload = uploads.begin_upload(uploads.join(root, "new"))
        extent, version = Extent(source, 3, least + 1), uploads.version(source)
        copied = uploads.copy_part(upload, 2, extent, version)
        assert copied is not None
        assert (copied.number, copied.nbytes) == (2, least + 1)
        parts = [
            uploads.send_part(upload, 1, bytes(least)),
            copied,
            uploads.send_part(upload, 3, b"end"),
        ]
        assert uploads.sent_parts(upload) == tuple(parts)
        uploads.complete_upload(upload, parts, None)
        assert read(uploads, upload.path) == bytes(least) + data[3 : least + 4] + b"end"

    def test_a_changed_file_is_not_copied(
        self, uploads: UploadStore, root: str, path: str, fill: Fill
    ) -> None:
        """A source of another version has changed."""
        assert isinstance(uploads, CopiesParts)
        version = uploads.version(path)
        fill(path, DATA[::-1])
        uploads.forget()
        upload = uploads.begin_upload(uploads.join(root, "new"))
        with pytest.raises(SourceChangedError) as caught:
            uploads.copy_part(upload, 1, Extent(path, 0, 10), version)
        assert caught.value.file == path
        uploads.abort_upload(upload)
