"""Where a report goes: over nothing but an earlier one, and complete or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.report.page import MARKER
from tests.support.program import Call


@pytest.mark.parametrize("name", ["r.html", "r.svg", "R.HTML"])
def test_every_command_that_looks_can_report(
    source: Path, tmp_path: Path, call: Call, name: str
) -> None:
    """`inspect`, `verify` and a writer, dry or not, write the report beside what they print, which
    stays the same.
    """
    path = tmp_path / name
    target = tmp_path / "out"
    for arguments in (
        ("inspect", source),
        ("inspect", source, "--json"),
        ("verify", source),
        ("split", source, target, "-n", "--max-shard-size", "800"),
        ("split", source, target, "--max-shard-size", "800", "--progress", "none"),
    ):
        path.unlink(missing_ok=True)
        out, _ = call(*arguments, "--report", path)
        assert MARKER in path.read_text("utf-8")[:100]
        if arguments[0] != "split" or "-n" in arguments:
            assert out == call(*arguments)[0]
    assert not [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("name", ["report", "report.pdf", "html", "report.html/"])
def test_other_suffixes_are_usage_errors(
    source: Path, tmp_path: Path, call: Call, name: str
) -> None:
    """Neither .html nor .svg is 2, before any work, and says both."""
    _, err = call("split", source, tmp_path / "out", "--report", f"{tmp_path}/{name}", code=2)
    assert ".html" in err
    assert ".svg" in err
    assert not (tmp_path / "out").exists()


def test_a_directory_that_does_not_exist(source: Path, tmp_path: Path, call: Call) -> None:
    """The directory of a report is not created; that it is missing is an error before any work."""
    assert (
        "does not exist"
        in call("inspect", source, "--report", tmp_path / "no" / "r.html", code=2)[1]
    )


def test_only_reports_are_overwritten(source: Path, tmp_path: Path, call: Call) -> None:
    """A report is replaced, with its permissions, and so is an empty file; anything else is 4 and
    stays as it is.
    """
    path = tmp_path / "r.html"
    path.touch(mode=0o600)
    call("inspect", source, "--report", path)
    call("inspect", source, "--report", path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("<!DOCTYPE html><p>mine")
    _, err = call("inspect", source, "--report", path, code=4)
    assert "not a shardctl report" in err
    assert "hint: " in err
    assert path.read_text() == "<!DOCTYPE html><p>mine"
    (tmp_path / "directory.svg").mkdir()
    call("inspect", source, "--report", tmp_path / "directory.svg", code=4)


def test_check_writes_no_report(source: Path, tmp_path: Path, call: Call) -> None:
    """--check writes nothing, and so no report."""
    call("split", source, tmp_path / "out", "--check", "--report", tmp_path / "r.html", code=1)
    assert not (tmp_path / "r.html").exists()


def test_a_failure_leaves_the_old_report(
    source: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new report cannot be finished, the old one stays and nothing lies beside it."""
    from shardctl.errors import StorageError
    from shardctl.stores.local.store import LocalStore

    path = tmp_path / "r.html"
    call("inspect", source, "--report", path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise StorageError("no more room", hint="free some")

    monkeypatch.setattr(LocalStore, "rename", fail)
    call("inspect", source, "--report", path, code=5)
    assert path.read_bytes() == before
    assert {entry.name for entry in tmp_path.iterdir()} == {"source", "r.html"}
