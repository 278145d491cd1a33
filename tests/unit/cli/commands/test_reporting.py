"""A report is checked before the work, and written after it where one was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.cli.commands.reporting import Reporter
from shardctl.commands.pipeline import inspect_all
from shardctl.commands.preparing.work import prepare_all
from shardctl.errors import TargetExistsError, UsageError
from shardctl.planning.request import Limits, WriteOptions
from shardctl.testing.memory import MemoryStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.memory_checkpoints import sample


@pytest.fixture
def store() -> MemoryStore:
    """A store with the checkpoint `m`."""
    store = MemoryStore()
    sample(store)
    return store


def report_all(reporter: Reporter, store: MemoryStore, kind: str) -> None:
    """Report one of the three kinds of results."""
    match kind:
        case "inspection":
            reporter.inspection(inspect_all(store, "m", key=None))
        case "plan":
            options = WriteOptions(limits=Limits(num_shards=2))
            reporter.plan(prepare_all(store, "m", store, "t", options, finish=False))
        case _:
            reporter.verdict(store, "m", verify(store, "m", Thoroughness()), None)


@pytest.mark.parametrize("suffix", [".html", ".svg"])
@pytest.mark.parametrize("kind", ["inspection", "plan", "verdict"])
def test_each_result_is_reported(
    store: MemoryStore, tmp_path: Path, kind: str, suffix: str
) -> None:
    """The file is there after the work, and not before."""
    path = tmp_path / f"report{suffix}"
    reporter = Reporter(str(path))
    assert not path.exists()
    report_all(reporter, store, kind)
    text = path.read_text(encoding="utf-8")
    assert "model" in text
    assert ("<svg" in text.lower()) or ("<html" in text.lower())


@pytest.mark.parametrize("kind", ["inspection", "plan", "verdict"])
def test_without_a_file_nothing_is_written(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Each method does nothing."""
    monkeypatch.chdir(tmp_path)
    report_all(Reporter(None), store, kind)
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_ends_the_command_first(tmp_path: Path) -> None:
    """A suffix that is not known, and a file that is there and is not a report, are errors."""
    with pytest.raises(UsageError):
        Reporter(str(tmp_path / "report.pdf"))
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    with pytest.raises(TargetExistsError):
        Reporter(str(mine))
    assert mine.read_text() == "mine"
