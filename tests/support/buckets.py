"""Checkpoints in buckets in memory, runs into them, and power that fails before a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.preparing.prepared import Prepared
from shardctl.commands.write import write
from shardctl.engine.run import RunOptions
from shardctl.model import Version
from shardctl.naming import STAGING
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.base import Store
from shardctl.stores.uploads import SentPart, Upload
from shardctl.testing.bucket import MemoryBucket
from shardctl.testing.place import Place
from tests.support.memory_checkpoints import weights
from tests.support.observers import Counting

BY_250 = WriteOptions(limits=Limits(max_shard_bytes=250))
BY_350 = WriteOptions(limits=Limits(max_shard_bytes=350))
ONE = WriteOptions(limits=Limits())
INDEX = "model.safetensors.index.json"
#: The names of a set's files in a target, by their bytes.
Files = Mapping[str, bytes]


class CutError(BaseException):
    """The power is gone."""


class Fragile(MemoryBucket):
    """A bucket that fails before a change once as many as `left` were made."""

    left = 1_000_000

    def _count(self) -> None:
        with self.place.guard:  # parts are sent by several threads
            if self.left == 0:
                raise CutError
            self.left -= 1

    def cut(self) -> None:
        """Let the next change fail."""
        with self.place.guard:
            self.left = 0

    def begin_upload(self, path: str) -> Upload:
        """Begin an upload, if there still is power."""
        self._count()
        return super().begin_upload(path)

    def send_part(
        self, upload: Upload, number: int, data: bytes | bytearray | memoryview
    ) -> SentPart:
        """Send a part, if there still is power."""
        self._count()
        return super().send_part(upload, number, data)

    def complete_upload(
        self, upload: Upload, parts: Sequence[SentPart], replaces: Version | None
    ) -> Version:
        """Complete an upload, if there still is power."""
        self._count()
        return super().complete_upload(upload, parts, replaces)

    def abort_upload(self, upload: Upload) -> None:
        """Abort an upload, if there still is power."""
        self._count()
        super().abort_upload(upload)

    def put(self, path: str, data: bytes) -> None:
        """Write an object, if there still is power."""
        self._count()
        super().put(path, data)

    def remove(self, path: str) -> None:
        """Remove an object, if there still is power."""
        self._count()
        super().remove(path)

    def remove_version(self, path: str, version: Version) -> bool:
        """Remove an object, if there still is power."""
        self._count()
        return super().remove_version(path, version)


def fill(place: Place, path: str, data: bytes) -> str:
    """Give an object this content, whatever was there."""
    MemoryBucket(place).put(path, data)
    return path


def sample(place: Place, directory: str = "m", count: int = 6, nbytes: int = 100) -> None:
    """Put a single-file checkpoint of `count` tensors of `nbytes` bytes into a directory."""
    tensors = {f"layer.{number}": bytes([number + 1]) * nbytes for number in range(count)}
    fill(place, f"{directory}/model.safetensors", weights(tensors))
    fill(place, f"{directory}/config.json", b"{}")


def run(
    source: Store, store: MemoryBucket, path: str, target: str, options: WriteOptions = BY_250
) -> Prepared:
    """Prepare, and carry out what is not done."""
    prepared = prepare(source, path, store, target, options, finish=True)
    if not prepared.up_to_date:
        write(source, store, prepared, RunOptions(jobs=1), Counting())
    return prepared


def unlock(place: Place) -> None:
    """Remove the locks of runs that were cut off: their processes have ended."""
    for key in [key for key in place.objects if key.endswith(f"{STAGING}/lock")]:
        del place.objects[key]


def files(place: Place, directory: str) -> dict[str, bytes]:
    """The objects in a directory, but for the state of a run, by name."""
    below = f"{directory}/"
    return {
        key.removeprefix(below): found.data
        for key, found in place.objects.items()
        if key.startswith(below) and not key.startswith(f"{below}{STAGING}/")
    }


def state(place: Place) -> list[str]:
    """What is left of runs: objects of their state, and uploads that have not ended."""
    objects = [key for key in place.objects if f"{STAGING}/" in key]
    return [*objects, *(upload.path for upload, _ in place.uploads.values())]


def loaded(found: Files) -> Files | None:
    """The files that a loader takes; None where it finds nothing to load.

    It takes the single file, else the index, and then what that names; or a distributed checkpoint.
    """
    if ".metadata" in found:
        return {name: data for name, data in found.items() if name != "config.json"}
    if "model.safetensors" in found:
        return {"model.safetensors": found["model.safetensors"]}
    if INDEX not in found:
        return None
    named = set(json.loads(found[INDEX])["weight_map"].values())
    return {INDEX: found[INDEX], **{name: found[name] for name in named}}
