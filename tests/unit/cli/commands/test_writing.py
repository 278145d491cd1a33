"""Carrying out what a writer has prepared: what is written, printed and said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from shardctl.cli.commands.reporting import Reporter
from shardctl.cli.commands.writing import Running, carry_out
from shardctl.cli.options.shared import ProgressName
from shardctl.commands.preparing.work import Work, prepare_all
from shardctl.commands.write import write
from shardctl.engine.commit.staging import Staging
from shardctl.engine.journal.journal import Journal
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.journal.records import Records, StoredRecords
from shardctl.engine.run import RunOptions
from shardctl.errors import TargetExistsError
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.capabilities import Traffic
from shardctl.streams.pool import default_jobs
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, sample
from tests.support.pipelines import pipeline, tree

BY_250 = WriteOptions(limits=Limits(max_shard_bytes=250))
INDEX = "t/model.safetensors.index.json"


class Noting(Reporter):
    """A reporter that notes what it gets."""

    def __init__(self) -> None:
        super().__init__(None)
        self.works: list[Work] = []

    def plan(self, work: Work) -> None:
        """Note it."""
        self.works.append(work)


def prepared(
    store: MemoryStore,
    source: str = "m",
    options: WriteOptions = BY_250,
    records: Records | None = None,
) -> Work:
    """What is to be done."""
    return prepare_all(store, source, store, "t", options, finish=True, records=records)


def done(
    capsys: pytest.CaptureFixture[str],
    store: MemoryStore,
    work: Work,
    *,
    records: Records | None = None,
    reporter: Reporter | None = None,
    writer: Any = write,
    **how: Any,
) -> tuple[str, str]:
    """Carry it out; what is printed, and what is said."""
    usual = {"jobs": 1, "restart": False, "progress": ProgressName.none}
    running = Running(**{**usual, "json": False, "quiet": False, "verbose": False, **how})
    records = records or StoredRecords(store, "records", str)
    reporter = reporter or Reporter(None)
    carry_out("split", work, store, store, records, reporter, running, writer)
    out, err = capsys.readouterr()
    return out, err


@pytest.fixture
def store() -> MemoryStore:
    """A store with the checkpoint `m` of six tensors of 100 bytes."""
    store = MemoryStore()
    sample(store)
    return store


def test_the_path_is_printed_and_the_summary_said(
    store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script gets what a loader takes, and nothing else."""
    out, err = done(capsys, store, prepared(store))
    assert out == f"{INDEX}\n"
    assert err.startswith("wrote 3 files of 6 tensors, ")
    assert err.count("\n") == 1
    assert store.kind(INDEX) == "file"


def test_what_is_there_is_not_written_again(
    store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is up to date, and its path is printed all the same."""
    done(capsys, store, prepared(store))
    before = {entry.name: store.version(f"t/{entry.name}") for entry in store.list("t")}
    out, err = done(capsys, store, prepared(store))
    assert (out, err) == (f"{INDEX}\n", "up to date\n")
    assert {name: store.version(f"t/{name}") for name in before} == before


def test_quiet_says_nothing(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """The path is a result, and stays."""
    assert done(capsys, store, prepared(store), quiet=True) == (f"{INDEX}\n", "")
    assert done(capsys, store, prepared(store), quiet=True) == (f"{INDEX}\n", "")


def test_json_is_one_document(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """In place of the path; a run that was up to date has the same keys."""
    out, err = done(capsys, store, prepared(store), json=True)
    first = json.loads(out)
    assert (first["command"], first["done"], first["loads_from"]) == ("split", True, INDEX)
    assert not first["up_to_date"]
    assert err.startswith("wrote")
    second = json.loads(done(capsys, store, prepared(store), json=True)[0])
    assert second["up_to_date"]
    assert list(second) == list(first)


def test_verbose_says_how_bytes_were_copied(
    store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line is longer then."""
    _, err = done(capsys, store, prepared(store), verbose=True)
    assert "through buffers" in err


def test_the_record_is_kept(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """The next run knows by it that nothing is to be done."""
    records = StoredRecords(MemoryStore(), "records", str)
    done(capsys, store, prepared(store), records=records)
    assert records.find("t") is not None
    assert prepared(store, records=records).parts[0].prepared.notes == ()


def test_accepted_damage_is_said(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Each place is a note after the summary."""

    def damaging(*ends: Any, **how: Any) -> tuple[Receipt, ...]:
        first, *rest = write(*ends, **how)
        return (replace(first, damaged=("tensor 'a'",)), *rest)

    assert done(capsys, store, prepared(store), writer=damaging, quiet=True)[1] == ""
    store.remove(INDEX)
    for name in [entry.name for entry in store.list("t")]:
        store.remove(f"t/{name}")
    _, err = done(capsys, store, prepared(store), writer=damaging)
    assert err.splitlines()[-1] == ("note: accepted damage: tensor 'a' does not match its CRC-32")


def test_the_report_is_written_after_the_work(
    store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of what was up to date."""
    reporter = Noting()
    for number in (1, 2):
        work = prepared(store)
        done(capsys, store, work, reporter=reporter)
        assert len(reporter.works) == number
        assert reporter.works[-1] is work


def test_a_failure_prints_no_result(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing goes to stdout, and no report is written."""

    def failing(*_: Any, **__: Any) -> tuple[Receipt, ...]:
        raise TargetExistsError("in the way", hint="move it")

    reporter = Noting()
    with pytest.raises(TargetExistsError):
        done(capsys, store, prepared(store), writer=failing, reporter=reporter)
    assert capsys.readouterr().out == ""
    assert reporter.works == []


# pipelines


def test_a_pipeline_is_written_part_by_part(capsys: pytest.CaptureFixture[str]) -> None:
    """Its directory is the result."""
    store = pipeline(MemoryStore())
    out, err = done(capsys, store, prepared(store, "p", WriteOptions(limits=Limits())))
    assert out == "t\n"
    assert err.startswith("wrote 3 files of 6 tensors in 3 components")
    assert tree(store, "t") == tree(store, "p")
    again = prepared(store, "p", WriteOptions(limits=Limits()))
    assert done(capsys, store, again) == ("t\n", "up to date\n")


def test_a_pipeline_begins_only_where_all_of_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    """An unfinished run with other options in one component stops it before the first is written,
    unless it is to be discarded.
    """
    store = pipeline(MemoryStore())
    other = prepared(store, "p", BY_250).parts[2].prepared.identity
    store.make_directory("t/vae")
    with Staging.make(store, "t/vae") as staging:
        Journal(staging).begin(other, ["x"])
    work = prepared(store, "p", WriteOptions(limits=Limits(num_shards=1)))
    before = tree(store, "t")
    with pytest.raises(TargetExistsError, match="'t/vae' holds an unfinished run"):
        done(capsys, store, work)
    assert tree(store, "t") == before
    done(capsys, store, work, restart=True)
    assert tree(store, "t") == tree(store, "p")


# how it goes


def test_a_run_goes_as_it_was_asked_for(
    store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Jobs, and starting over, reach the run; without a number the default does."""
    seen: list[RunOptions] = []

    def noting(*ends: Any, **how: Any) -> tuple[Receipt, ...]:
        seen.append(ends[3])
        return write(*ends, **how)

    done(capsys, store, prepared(store), writer=noting, jobs=3, restart=True)
    store.remove(INDEX)
    for name in [entry.name for entry in store.list("t")]:
        store.remove(f"t/{name}")
    done(capsys, store, prepared(store), writer=noting, jobs=None)
    assert [(each.jobs, each.restart) for each in seen] == [(3, True), (default_jobs(), False)]


def test_digests_are_printed_again(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what was up to date they are those of its receipts."""
    options = replace(BY_250, checksums=True)
    first, second = (
        json.loads(done(capsys, store, prepared(store, options=options), json=True)[0])
        for _ in range(2)
    )
    assert [shard["sha256"] for shard in first["shards"]].count(None) == 0
    assert [shard["sha256"] for shard in second["shards"]] == [
        shard["sha256"] for shard in first["shards"]
    ]


def test_the_time_is_that_of_the_work(
    store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small one takes less than a minute."""
    _, err = done(capsys, store, prepared(store))
    seconds = re.search(r" in (\d+)\.\d s ", err)
    assert seconds is not None
    assert int(seconds[1]) < 60


class Far(MemoryStore):
    """A store across a network, with counts."""

    at_once = 1

    def traffic(self) -> Traffic:
        """Return the counts."""
        return Traffic(7, 1000)


def test_traffic_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """After the summary, and in the document; quiet says nothing."""
    store = Far()
    sample(store)
    _, err = done(capsys, store, prepared(store))
    assert err.splitlines()[-1] == "network: 7 requests, 1.0 KB received"
    assert done(capsys, store, prepared(store), quiet=True)[1] == ""
    assert json.loads(done(capsys, store, prepared(store), json=True)[0])["network"]


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_that_of_shards(
    store: MemoryStore, capsys: pytest.CaptureFixture[str], *, quiet: bool
) -> None:
    """A run that only edits lists of checksums shows none."""
    _, err = done(capsys, store, prepared(store), progress=ProgressName.json, quiet=quiet)
    assert ('"event"' in err) is not quiet
    pipe = pipeline(MemoryStore())
    put(pipe, "p/SHA256SUMS", f"{'0' * 64}  unet/diffusion_pytorch_model.safetensors\n".encode())
    same = replace(BY_250, limits=Limits(max_shard_bytes=150), replace="same")
    work = prepare_all(pipe, "p", pipe, "p", same, finish=True)
    _, err = done(capsys, pipe, work, progress=ProgressName.json)
    assert len(work.todo) == 2
    assert "SHA256SUMS" not in err
