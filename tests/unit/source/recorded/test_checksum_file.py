"""The `SHA256SUMS` of a directory, around it and below it, with names from that directory on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardctl.checksums import CHECKSUMS
from shardctl.errors import FormatError
from shardctl.formats.limits import MAX_CHECKSUMS_BYTES
from shardctl.source.recorded.checksum_file import (
    checksums_bytes,
    read_checksums,
    sums_around,
    sums_for,
    sums_of,
)
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

STORE = LocalStore()
ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


def test_checksums_that_are_too_large_are_not_read(tmp_path: Path) -> None:
    """A sparse file of 3 GiB costs nothing: it is refused by its size."""
    path = tmp_path / CHECKSUMS
    path.touch()
    os.truncate(path, 3 << 30)
    with pytest.raises(FormatError, match="more than 16,777,216 are not read") as caught:
        read_checksums(STORE, str(tmp_path))
    assert (caught.value.code, caught.value.file) == ("digest-unread", str(path))
    os.truncate(path, MAX_CHECKSUMS_BYTES)
    assert read_checksums(STORE, str(tmp_path)) == {}


@pytest.fixture
def store() -> MemoryStore:
    """A pipeline `p` with lists at the top, in a component, and below that."""
    store = MemoryStore()
    put(store, "p/model_index.json", b'{"_class_name": "P", "unet": ["a", "B"]}')
    put(
        store,
        f"p/{CHECKSUMS}",
        f"{ONE}  unet/a.bin\n{TWO}  vae/b.bin\n{THREE}  unetx/c.bin\n".encode(),
    )
    put(store, f"p/unet/{CHECKSUMS}", f"{TWO}  a.bin\n{TWO}  sub/d.bin\n".encode())
    put(store, f"p/unet/sub/{CHECKSUMS}", f"{THREE}  d.bin\n".encode())
    put(store, "p/unet/config.json", b"{}")
    return store


def test_the_list_of_a_directory(store: MemoryStore) -> None:
    """It is read as it is; without one there is none, and a directory of that name is none."""
    assert read_checksums(store, "p/unet/sub") == {"d.bin": THREE}
    assert checksums_bytes(store, "p/unet/sub") == f"{THREE}  d.bin\n".encode()
    store.make_directory(f"q/{CHECKSUMS}")
    for directory in ("p/vae", "none", "q"):
        assert read_checksums(store, directory) is None
        assert list(sums_of(store, directory)) == []


def test_names_are_those_of_the_directory(store: MemoryStore) -> None:
    """From above, only lines of files below it count, by whole names of directories; from below,
    names have that directory before them.
    """
    (above,) = sums_of(store, "p", above="unet")
    assert (above.path, above.digests) == (f"p/{CHECKSUMS}", {"a.bin": ONE})
    (below,) = sums_of(store, "p/unet/sub", below="sub")
    assert below.digests == {"sub/d.bin": THREE}


def test_lists_around_a_component(store: MemoryStore) -> None:
    """Those of the directories of its pipeline are found, and none elsewhere."""
    assert [each.path for each in sums_around(store, "p/unet")] == [f"p/{CHECKSUMS}"]
    assert list(sums_around(store, "p")) == []


def test_every_list_that_may_name_a_file(store: MemoryStore) -> None:
    """That of the directory first, then those below with some of the files, then those around."""
    found = sums_for(store, "p/unet", ["a.bin", "sub/d.bin", "other/e.bin"])
    assert [each.path for each in found] == [
        f"p/unet/{CHECKSUMS}", f"p/unet/sub/{CHECKSUMS}", f"p/{CHECKSUMS}",
    ]  # fmt: skip
    assert [dict(each.digests) for each in found] == [
        {"a.bin": TWO, "sub/d.bin": TWO}, {"sub/d.bin": THREE}, {"a.bin": ONE},
    ]  # fmt: skip


def test_a_list_that_is_not_read_is_named(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a list is too large it is not an empty one: why it was not read is kept."""
    monkeypatch.setattr("shardctl.source.recorded.checksum_file.MAX_CHECKSUMS_BYTES", 10)
    (found,) = sums_of(store, "p/unet/sub")
    assert found.digests == {}
    assert found.unread is not None
    assert (found.unread.code, found.path) == ("digest-unread", f"p/unet/sub/{CHECKSUMS}")
