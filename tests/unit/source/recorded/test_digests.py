"""Digests that are recorded beside a file: in a hub cache, and by a download into a directory."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import pytest

from shardctl.findings import Finding
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.memory_checkpoints import put, weights

DATA = weights({"a": bytes(range(256))})
SHA256 = hashlib.sha256(DATA).hexdigest()
OTHER = "0" * 64


def mismatches(store: LocalStore | MemoryStore, source: str) -> list[Finding]:
    """The findings about digests, of a check that reads all bytes."""
    found = verify(store, source, Thoroughness(deep=True)).findings
    return [finding for finding in found if finding.code == "digest-mismatch"]


@pytest.mark.parametrize(("name", "wrong"), [(SHA256, False), (OTHER, True), ("0" * 40, False)])
@pytest.mark.parametrize("source", ["snapshots/abc", "snapshots/abc/model.safetensors", "blobs/{}"])
def test_the_name_of_a_blob_in_a_hub_cache(
    tmp_path: Path, name: str, source: str, *, wrong: bool
) -> None:
    """A file whose blob is called by another SHA-256 is an error, through the link and directly; a
    digest of Git is none.
    """
    root = tmp_path / "models--org--name"
    for directory in ("blobs", "snapshots/abc"):
        (root / directory).mkdir(parents=True)
    (root / "blobs" / name).write_bytes(DATA)
    (root / "snapshots/abc/model.safetensors").symlink_to(f"../../blobs/{name}")
    found = mismatches(LocalStore(), str(root / source.format(name)))
    assert bool(found) is wrong
    for finding in found:
        assert (finding.severity, SHA256 in finding.message, OTHER in finding.message) == (
            "error",
            True,
            True,
        )
    elsewhere = tmp_path / "blobs" / OTHER
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(DATA)
    assert mismatches(LocalStore(), str(elsewhere)) == []


@pytest.mark.parametrize(
    ("etag", "wrong"),
    [(SHA256, False), (OTHER, True), (f'"{OTHER}"', True), ("0" * 40, False), ("", False)],
)
@pytest.mark.parametrize("below", ["", "text_encoder/"])
def test_the_etag_of_a_download(etag: str, below: str, *, wrong: bool) -> None:
    """A file whose recorded etag is another SHA-256 is an error, also in a directory below; other
    etags say nothing.
    """
    store = MemoryStore()
    put(store, f"d/{below}model.safetensors", DATA)
    record = f"d/.cache/huggingface/download/{below}model.safetensors.metadata"
    put(store, record, f"{'a' * 40}\n{etag}\n1700000000.0\n".encode())
    assert bool(mismatches(store, f"d/{below}model.safetensors")) is wrong


@pytest.mark.parametrize("record", [b"", b"\xff\xfe", b"one line", b"\n" * 9000])
def test_a_file_that_is_not_a_record(record: bytes) -> None:
    """A file of that name that is not a record of a download is passed over."""
    store = MemoryStore()
    put(store, "d/model.safetensors", DATA)
    put(store, "d/.cache/huggingface/download/model.safetensors.metadata", record)
    assert mismatches(store, "d") == []


def test_every_record_is_compared() -> None:
    """Where two records disagree, the wrong one is reported by its place."""
    store = MemoryStore()
    put(store, "d/model.safetensors", DATA)
    put(store, "d/SHA256SUMS", f"{OTHER}  model.safetensors\n".encode())
    put(
        store,
        "d/.cache/huggingface/download/model.safetensors.metadata",
        f"c\n{SHA256}\n1\n".encode(),
    )
    (finding,) = mismatches(store, "d")
    assert finding.message.startswith("SHA256SUMS says")


def test_a_truncated_file_is_not_a_wrong_digest_too() -> None:
    """Where the header shows the damage, that is the one error."""
    store = MemoryStore()
    put(store, "d/model.safetensors", DATA[:-1])
    put(store, "d/SHA256SUMS", f"{SHA256}  model.safetensors\n".encode())
    found = verify(store, "d", Thoroughness(deep=True)).findings
    assert [finding.code for finding in found] == ["file-truncated"]


def test_a_record_of_any_size_is_read_in_part(tmp_path: Path) -> None:
    """What lies where the hub keeps an etag is never read whole: it may be of any size."""
    (tmp_path / "model.safetensors").write_bytes(DATA)
    record = tmp_path / ".cache" / "huggingface" / "download" / "model.safetensors.metadata"
    record.parent.mkdir(parents=True)
    record.write_bytes(f"commit\n{OTHER}\n".encode())
    with record.open("r+b") as file:
        file.truncate(1 << 32)
    tracemalloc.start()
    found = mismatches(LocalStore(), str(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 1
    assert peak < 2_000_000


def in_pipeline(path: str, home: str, listed: str, sha256: str) -> MemoryStore:
    """A pipeline with weights at `path`, and a list of checksums in `home` with one line."""
    store = MemoryStore()
    put(store, "p/model_index.json", b"{}")
    put(store, f"p/{path}", DATA)
    put(store, f"p/{home}SHA256SUMS", f"{sha256}  {listed}\n".encode())
    return store


@pytest.mark.parametrize(
    ("path", "home", "listed"),
    [
        ("unet/model.safetensors", "", "unet/model.safetensors"),
        ("unet/model.safetensors", "", "./unet/model.safetensors"),
        ("unet/model.safetensors", "unet/", "model.safetensors"),
        ("a/b/unet/model.safetensors", "", "a/b/unet/model.safetensors"),
        ("a/b/unet/model.safetensors", "a/", "b/unet/model.safetensors"),
    ],
)
@pytest.mark.parametrize(("sha256", "wrong"), [(SHA256, False), (OTHER, True)])
def test_a_list_in_a_pipeline(
    path: str, home: str, listed: str, sha256: str, *, wrong: bool
) -> None:
    """One in any directory of the pipeline above a component counts for the files of that."""
    store = in_pipeline(path, home, listed, sha256)
    found = verify(store, f"p/{path.rpartition('/')[0]}", Thoroughness(deep=True))
    assert [each.code for each in found.findings] == ["digest-mismatch"] * wrong
    assert "SHA-256 of 1 file" in found.coverage.checked


def test_a_list_outside_of_a_pipeline() -> None:
    """One above a directory that is in no pipeline is about something else."""
    store = in_pipeline("unet/model.safetensors", "", "unet/model.safetensors", OTHER)
    store.remove("p/model_index.json")
    assert mismatches(store, "p/unet") == []


@pytest.mark.parametrize("home", ["", "unet/"])
def test_a_list_that_lacks_a_file(home: str) -> None:
    """A file that none of the lists has is a warning; one of them is enough."""
    store = in_pipeline("unet/model.safetensors", home, "other", OTHER)
    codes = [each.code for each in verify(store, "p/unet", Thoroughness()).findings]
    assert codes == ["digest-missing"]
    put(store, "p/SHA256SUMS", f"{SHA256}  unet/model.safetensors\n".encode())
    assert verify(store, "p/unet", Thoroughness()).findings == ()


def test_a_list_beside_shards_in_a_sub_directory() -> None:
    """It is compared, by the names that the shards have there."""
    store = MemoryStore()
    put(store, "m/sub/a.safetensors", DATA)
    index = b'{"metadata": {"total_size": 256}, "weight_map": {"a": "sub/a.safetensors"}}'
    put(store, "m/model.safetensors.index.json", index)
    put(store, "m/sub/SHA256SUMS", f"{OTHER}  a.safetensors\n".encode())
    (finding,) = mismatches(store, "m")
    assert finding.message.startswith("'m/sub/SHA256SUMS' says")
