"""What stays of each `SHA256SUMS` of a target, and what is said of those around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.commands.target.sums import KeptSums, kept_sums, stale_notes, sums_above, sums_notes
from shardctl.formats.limits import MAX_CHECKSUMS_BYTES
from shardctl.source.recorded.checksum_file import sums_around
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put
from tests.support.odd_files import ODD, Odd, make_odd

DIGEST = "0" * 64


def sums(*names: str) -> bytes:
    """A file of checksums that lists these names."""
    return "".join(f"{DIGEST}  {name}\n" for name in names).encode()


def test_the_files_that_may_list_a_name() -> None:
    """There may be one in every directory on the way to a file, each with its own name of it."""
    assert sums_above(("a/b/c", "d")) == {
        "SHA256SUMS": {"a/b/c", "d"},
        "a/SHA256SUMS": {"b/c"},
        "a/b/SHA256SUMS": {"c"},
    }


def test_only_lines_of_files_that_go_are_removed() -> None:
    """Whatever else is in the file stays as it is, byte for byte."""
    store = MemoryStore()
    assert kept_sums(store, "t", (), wanted=False) == KeptSums()
    assert kept_sums(store, "t", (), wanted=True) == KeptSums({"SHA256SUMS": b""})
    put(store, "t/SHA256SUMS", f"# mine\r\n{DIGEST}  ./a\n{DIGEST} *b".encode())
    assert kept_sums(store, "t", {"c"}, wanted=False) == KeptSums()
    kept = f"# mine\r\n{DIGEST} *b\n".encode()
    found = kept_sums(store, "t", {"a"}, wanted=False)
    assert found == KeptSums({"SHA256SUMS": kept}, edited=("SHA256SUMS",))
    assert kept_sums(store, "t", {"c"}, wanted=True).edited == ()


@pytest.mark.parametrize(
    "text",
    [f"SHA256 (a) = {DIGEST}", "-----BEGIN PGP SIGNED MESSAGE-----", f"{DIGEST}  a\0"],
)
def test_other_forms_are_left_alone(text: str) -> None:
    """A file that is signed or of another form is named instead, even with checksums wanted."""
    store = MemoryStore()
    put(store, "t/SHA256SUMS", text.encode())
    assert kept_sums(store, "t", {"a"}, wanted=True) == KeptSums(foreign=("SHA256SUMS",))


@pytest.mark.parametrize("what", ODD)
def test_what_is_not_a_file_is_left_alone(tmp_path: Path, what: Odd) -> None:
    """Something else of that name is never moved or removed, even with checksums wanted."""
    path = tmp_path / "SHA256SUMS"
    make_odd(path, what)
    found = kept_sums(LocalStore(), str(tmp_path), {"a"}, wanted=True)
    assert found == KeptSums(foreign=("SHA256SUMS",))


@pytest.mark.parametrize("suffix", ["asc", "sig", "minisig"])
def test_one_with_a_signature_beside_it_is_left_alone(suffix: str) -> None:
    """An edited file would no longer match it. Where nothing is to be edited, nothing is said."""
    store = MemoryStore()
    put(store, "t/SHA256SUMS", sums("a", "b"))
    put(store, f"t/SHA256SUMS.{suffix}", b"x")
    assert kept_sums(store, "t", {"a"}, wanted=False) == KeptSums(foreign=("SHA256SUMS",))
    assert kept_sums(store, "t", {"c"}, wanted=False) == KeptSums()


def test_one_that_is_too_large_is_left_alone() -> None:
    """It is not read."""
    store = MemoryStore()
    put(store, "t/SHA256SUMS", b"#" * (MAX_CHECKSUMS_BYTES + 1))
    assert kept_sums(store, "t", {"a"}, wanted=True) == KeptSums(foreign=("SHA256SUMS",))


def test_those_in_sub_directories() -> None:
    """Each loses the lines of the files below it, unless a new file takes its place."""
    store = MemoryStore()
    put(store, "t/SHA256SUMS", sums("s/a", "s/b", "c"))
    put(store, "t/s/SHA256SUMS", sums("a"))
    put(store, "t/u/SHA256SUMS", sums("a"))
    gone = {"s/a", "u/a", "u/SHA256SUMS"}
    assert kept_sums(store, "t", gone, wanted=True).data == {
        "SHA256SUMS": sums("s/b", "c"),
        "s/SHA256SUMS": b"",
    }


def test_what_happens_to_them_is_said() -> None:
    """Those that lose lines are named in one note, and each that is left alone in another."""
    edited, foreign = ("SHA256SUMS", "s/SHA256SUMS"), ("u/SHA256SUMS",)
    what = "is signed, too large, of another form or not a file"
    assert list(sums_notes(edited, foreign)) == [
        "the lines of files that are replaced or removed go from SHA256SUMS, s/SHA256SUMS",
        f"u/SHA256SUMS in the target {what}, and is left as it is",
    ]
    assert list(sums_notes((), ())) == []


def test_one_around_the_target_is_named() -> None:
    """Where a component is replaced alone, the pipeline's list of its old files is said to stay."""
    store = MemoryStore()
    put(store, "p/model_index.json", b"{}")
    put(store, "p/SHA256SUMS", sums("unet/a", "vae/a"))
    put(store, "p/unet/a", b"x")
    lists = [*sums_around(store, "p/unet")]
    assert list(stale_notes(lists, {"b"})) == []
    (note,) = stale_notes(lists, {"a", "b"})
    assert note.startswith("'p/SHA256SUMS' lists files that are replaced here")
    store.remove("p/model_index.json")
    assert list(sums_around(store, "p/unet")) == []
