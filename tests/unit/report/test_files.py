"""A report is written over nothing but an earlier report."""

from __future__ import annotations

import pytest

from shardctl.errors import StorageError, TargetExistsError, UsageError
from shardctl.report.content import Content
from shardctl.report.files import check, write
from shardctl.report.page import MARKER
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put

CONTENT = Content("title", "inspect", ())


@pytest.mark.parametrize("path", ["r.html", "r.svg", "d/R.HTML", "d/a.b.Svg"])
def test_reports_are_written_by_their_suffix(path: str) -> None:
    """A page or an image, in any case of the suffix, and again over itself."""
    store = MemoryStore()
    store.make_directory("d")
    for _ in range(2):
        write(store, path, CONTENT)
    text = get(store, path).decode()
    assert MARKER in text[:256]
    assert ("<svg" in text[:500]) is path.lower().endswith("svg")


@pytest.mark.parametrize("path", ["r.txt", "r", "r.html.gz", "html", "r.htm"])
def test_other_suffixes_are_refused(path: str) -> None:
    """Before any work, with an example."""
    with pytest.raises(UsageError, match="ends in neither") as caught:
        check(MemoryStore(), path)
    assert "report.html" in caught.value.hint


def test_a_directory_that_does_not_exist() -> None:
    """It is named, to be created first."""
    with pytest.raises(UsageError, match="does not exist") as caught:
        check(MemoryStore(), "none/r.html")
    assert "'none'" in caught.value.hint


@pytest.mark.parametrize(
    "data", [b"<html>mine</html>", b" " * 256 + MARKER.encode(), b" " * 240 + MARKER.encode()]
)
def test_a_file_of_the_user_stays(data: bytes) -> None:
    """Without the marker at its start, a file is not a report."""
    store = MemoryStore()
    put(store, "r.html", data)
    for way in (check, lambda store, path: write(store, path, CONTENT)):
        with pytest.raises(TargetExistsError, match="is not a shardctl report") as caught:
            way(store, "r.html")
        assert caught.value.file == "r.html"
    assert get(store, "r.html") == data


def test_what_may_be_replaced() -> None:
    """An empty file, and one with the marker; a directory never."""
    store = MemoryStore()
    for data in (b"", b"<!-- " + MARKER.encode() + b" -->"):
        put(store, "r.html", data)
        check(store, "r.html")
    store.make_directory("d.html")
    with pytest.raises(TargetExistsError):
        check(store, "d.html")


def test_a_failed_write_leaves_the_earlier_report() -> None:
    """The new one gets its name once it is complete."""

    class Full(MemoryStore):
        def rename(self, old: str, new: str) -> None:
            raise StorageError(f"cannot rename {old}", hint="", file=new)

    store = Full()
    put(store, "r.html", MARKER.encode())
    with pytest.raises(StorageError):
        write(store, "r.html", CONTENT)
    assert [entry.name for entry in store.list("")] == ["r.html"]
    assert get(store, "r.html") == MARKER.encode()
