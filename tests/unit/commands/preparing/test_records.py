"""The records of finished runs are in the user's state directory, by resolved paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardctl.commands.preparing.records import records
from shardctl.engine.journal.records import RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

RECORD = RunRecord("id", {}, {}, {}, "a")


def test_a_record_is_kept_in_the_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written into the target, and links and relative paths lead to the same record."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    target = tmp_path / "t"
    target.mkdir()
    (tmp_path / "link").symlink_to(target)
    records(keep=True).keep(str(target), RECORD)
    assert list(target.iterdir()) == []
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert [path.parent for path in kept] == [tmp_path / "state" / "shardctl" / "records"]
    monkeypatch.chdir(tmp_path)
    for spelling in (str(target), "t", "link", "x/../t"):
        assert records(keep=True).find(spelling) == RECORD
    assert records(keep=True).find("other") is None


def test_without_keeping_the_record_of_the_run_before_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that keeps no record finds that of the last one, and removes it when it has ended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    records(keep=True).keep("t", RECORD)
    forgetting = records(keep=False)
    assert forgetting.find("t") == RECORD
    forgetting.keep("t", RECORD)
    assert records(keep=True).find("t") is None
