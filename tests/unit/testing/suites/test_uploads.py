"""The suites for uploads fail for a store that breaks a promise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shardctl.model import Extent, Version
from shardctl.stores.uploads import SentPart, Upload
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.memory import MemoryStore
from shardctl.testing.suites.fixtures import StoreFixtures
from shardctl.testing.suites.uploads import CopiesPartsSuite, UploadsSuite
from tests.support.suites import passes_for


@pytest.mark.parametrize("suite", [UploadsSuite, CopiesPartsSuite])
def test_a_sound_store_passes(suite: type[StoreFixtures]) -> None:
    """A bucket in memory; a store of files does not."""
    for test in [name for name in vars(suite) if name.startswith("test_")]:
        assert passes_for(suite, test, MemoryBucket), test
        assert not passes_for(suite, test, MemoryStore), test


class Hasty(MemoryBucket):
    """Whatever has the name is replaced."""

    def complete_upload(
        self, upload: Upload, parts: Sequence[SentPart], replaces: Version | None
    ) -> Version:
        """Complete it."""
        there = self.place.objects.get(upload.path)
        replaces = None if there is None else there.version
        return super().complete_upload(upload, parts, replaces)


class Forgetful(MemoryBucket):
    """What was aborted is still there, and a part that is sent again is not taken."""

    def abort_upload(self, upload: Upload) -> None:
        """Do nothing."""

    def send_part(
        self, upload: Upload, number: int, data: bytes | bytearray | memoryview
    ) -> SentPart:
        """Send it once."""
        sent = self._parts(upload).get(number)
        return sent[0] if sent else super().send_part(upload, number, data)


class Shuffled(MemoryBucket):
    """Parts are listed as they came."""

    def sent_parts(self, upload: Upload) -> tuple[SentPart, ...]:
        """List them."""
        return tuple(part for part, _ in self._parts(upload).values())


class Rude(MemoryBucket):
    """Objects are written over and removed, whatever they are."""

    def put_new(self, path: str, data: bytes) -> bool:
        """Write it."""
        self.put(path, data)
        return True

    def remove_version(self, path: str, version: Version) -> bool:  # noqa: ARG002 - the fault
        """Remove it."""
        self.remove(path)
        return True

    def forget(self) -> None:
        """Forget nothing."""


class Inexact(MemoryBucket):
    """A copied part begins one byte too early, and of any version."""

    def copy_part(
        self, upload: Upload, number: int, extent: Extent, version: Version
    ) -> SentPart | None:
        """Copy it."""
        version = self.version(extent.path)
        moved = Extent(extent.path, max(extent.offset - 1, 0), extent.length)
        return super().copy_part(upload, number, moved, version)


@pytest.mark.parametrize(
    ("suite", "store", "test"),
    [
        (UploadsSuite, Hasty, "test_a_file_is_replaced_only_in_the_version_that_was_seen"),
        (UploadsSuite, Hasty, "test_a_file_that_is_gone_is_not_replaced"),
        (UploadsSuite, Forgetful, "test_an_aborted_upload_is_gone"),
        (UploadsSuite, Forgetful, "test_a_part_is_replaced"),
        (UploadsSuite, Shuffled, "test_a_file_appears_when_its_upload_is_completed"),
        (UploadsSuite, Rude, "test_put_new"),
        (UploadsSuite, Rude, "test_remove_version"),
        (CopiesPartsSuite, Inexact, "test_copy_part"),
        (CopiesPartsSuite, Inexact, "test_a_changed_file_is_not_copied"),
    ],
)
def test_a_broken_promise_is_noticed(
    suite: type[StoreFixtures], store: type[MemoryBucket], test: str
) -> None:
    """By the test of that promise."""
    assert not passes_for(suite, test, store)
