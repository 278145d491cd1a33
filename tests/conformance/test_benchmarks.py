"""The benchmarks still run, keep what they measured, and draw and compare what they kept."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from fnmatch import filter as matching
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import charts, layers, remarks, report, results, run
from benchmarks.measure import Sample
from benchmarks.scenarios import WORKS
from shardctl.commands.preparing.defaults import measure_of
from shardctl.planning.plan import make_plan
from shardctl.planning.request import Limits
from tests.support.program import ROOT
from tests.support.s3_server import needs_cloud

KEPT = ROOT / "benchmarks" / "results.json"


def bench(directory: Path, *arguments: str) -> list[str]:
    """The command of a small run that leaves everything below `directory`."""
    (directory / "work").mkdir(exist_ok=True)
    places = (
        "--dir",
        directory / "work",
        "--results",
        directory / "kept.json",
        "--docs",
        directory / "docs",
    )
    return [
        sys.executable,
        "-m",
        "benchmarks.run",
        "--no-xfs",
        "--peer-runs",
        "0",
        *map(str, places),
        *arguments,
    ]


def rows(table: str) -> list[tuple[str, str]]:
    """The work and the contender of each row."""
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [(row[0], row[1].strip("`")) for row in cells if row[0] not in ("work", "---")]


def measured(work: str, ratio: float, nbytes: int = 10**9, tensors: int = 100) -> results.Measured:
    """A work that was measured twice."""
    yardstick = "sha256sum" if "verify" in work else "cp -r"
    unit = Sample(seconds=2.0, peak=10**7, ratio=1.0, room=nbytes)
    samples = {
        yardstick: [unit, unit],
        "shardctl": [replace(unit, ratio=ratio), replace(unit, ratio=ratio + 0.2)],
    }
    return results.Measured("ext4", nbytes, tensors, yardstick, 10**7, samples)


def collection(*works: str, ratio: float = 1.0) -> results.Results:
    """What a run of these works would keep."""
    found = results.Results(results.machine(), {"shardctl": "0"})
    for number, work in enumerate(works):
        found.works[work] = measured(
            work, ratio, nbytes=10 ** (7 + number), tensors=10 ** (3 + number)
        )
    return found


def test_runs_add_to_what_is_kept(tmp_path: Path) -> None:
    """Each run prints its own works; what is kept and the page have those of both, and nothing else
    is left.
    """
    options = ("--size", "5MB", "--runs", "1", "--only")
    for works, expected in (
        (
            "disk/split-s*",
            [("split-safetensors", name) for name in ("cp -r", "bare loop", "shardctl")],
        ),
        ("start/version", [("version", "bare Typer app"), ("version", "shardctl")]),
    ):
        done = subprocess.run(
            bench(tmp_path, *options, works), capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert rows(done.stdout) == expected
    kept = results.load(str(tmp_path / "kept.json"))
    assert sorted(kept.works) == ["disk/split-safetensors", "start/version"]
    split = kept.works["disk/split-safetensors"]
    (copied,), (written,) = split.samples["cp -r"], split.samples["shardctl"]
    assert written.ratio == pytest.approx(written.seconds / copied.seconds)
    assert min(written.seconds, written.peak) > 0
    if sys.platform == "linux":
        assert written.written is not None
        assert written.written >= split.nbytes
    page = (tmp_path / "docs" / report.PAGE).read_text(encoding="utf-8")
    assert page == report.page(kept)
    assert len(rows(page)) == 5 + len(rows(layers.table()))
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.slow
def test_models_are_timed_without_their_imports(tmp_path: Path) -> None:
    """A way to save or load a model reports its seconds and its memory above the model itself."""
    options = ("--size", "5MB", "--runs", "1", "--only", "python/save-bin", "--only")
    subprocess.run(
        bench(tmp_path, *options, "python/new-warm"), capture_output=True, check=True, cwd=ROOT
    )
    kept = results.load(str(tmp_path / "kept.json"))
    assert sorted(kept.works) == ["python/new-warm", "python/save-bin"]
    for work in kept.works.values():
        (sample,) = work.samples["shardctl"]
        assert 0 < sample.seconds < 60
        assert sample.peak < 64 * 2**20
    new = kept.works["python/new-warm"]
    mapped = {name: sample.mapped or 0 for name, (sample,) in new.samples.items()}
    assert mapped["shardctl"] < new.nbytes < mapped["shardctl, mmap"]
    assert "Models in memory" in (tmp_path / "docs" / report.PAGE).read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_several_processes_saved_is_timed(tmp_path: Path) -> None:
    """Works that reshape have their own sources, and the first round proves their results;
    of works with a cold cache the source is read from the disk.
    """
    options = ("--size", "5MB", "--runs", "1", "--only", "reshape/*", "--only", "cold/split-*")
    subprocess.run(bench(tmp_path, *options), capture_output=True, check=True, cwd=ROOT)
    kept = results.load(str(tmp_path / "kept.json"))
    assert sorted(kept.works) == ["cold/split-safetensors", *sorted(matching(WORKS, "reshape/*"))]
    for work in kept.works.values():
        assert list(work.samples) == ["cp -r", "bare loop", "shardctl"]
    (cold,) = kept.works["cold/split-safetensors"].samples["bare loop"]
    if sys.platform == "linux" and kept.works["cold/split-safetensors"].filesystem == "ext4":
        assert cold.fetched is not None
        assert cold.fetched > 4_000_000


@pytest.mark.slow
@needs_cloud
def test_a_server_counts_what_it_is_asked_for(tmp_path: Path) -> None:
    """Remote works have the bytes, requests and disk of each client: whoever downloads everything
    receives the whole, and shardctl keeps nothing beside its result.
    """
    options = ("--size", "30MB", "--runs", "1", "--peer-runs", "1", "--only", "remote/*")
    subprocess.run(bench(tmp_path, *options), capture_output=True, check=True, cwd=ROOT)
    kept = results.load(str(tmp_path / "kept.json"))
    assert sorted(kept.works) == sorted(matching(WORKS, "remote/*"))
    for name, work in kept.works.items():
        (ours,), (theirs,) = work.samples.values()
        most = {"inspect": 0.02, "split-s3-to-s3": 0.99}
        part = next((most[each] for each in most if each in name), 1.02)
        for sample, least, limit in ((ours, 0, part), (theirs, work.nbytes, 1.02)):
            assert sample.received is not None
            assert least <= sample.received <= limit * work.nbytes
            assert sample.requests is not None
            assert sample.requests > 0
        assert (ours.disk, theirs.disk) != (None, None)
        # Blocks of the disk are larger than the last bytes of a file.
        result = 1.05 * work.nbytes if name.endswith("to-disk") else 0
        assert (ours.disk or 0) <= result
        assert (theirs.disk or 0) >= work.nbytes
    page = (tmp_path / "docs" / report.PAGE).read_text(encoding="utf-8")
    assert "disk at the peak" in page
    assert list((tmp_path / "work").iterdir()) == []


def test_a_stage_without_its_packages_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where the S3 server is not installed the remote works are skipped with the reason, and
    nothing fails.
    """
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    places = ("--results", str(tmp_path / "kept.json"), "--docs", str(tmp_path))
    assert run.main(["--only", "remote/*", "--peer-runs", "0", *places]) == 0
    assert "remote was not measured: not installed: moto, boto3, obstore" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_stopped_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends the run with its exit code, and its sources and results are gone."""
    with subprocess.Popen(
        bench(tmp_path, "--size", "5MB", "--only", "disk/split-s*"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
    ) as run:
        assert run.stderr is not None
        assert b"round 1" in run.stderr.readline()
        run.send_signal(number)
        run.stderr.read()
    assert run.returncode == 128 + number
    assert list((tmp_path / "work").iterdir()) == []


def test_there_must_be_room(tmp_path: Path) -> None:
    """A size that the disk cannot hold is refused before anything is written, with what is
    needed.
    """
    command = bench(tmp_path, "--size", "900TB", "--only", "disk/split-bin")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "disk was not measured: needs 4,500.0 TB free" in done.stderr
    assert not (tmp_path / "kept.json").exists()


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """Results are the same after being saved and loaded, and those of another machine are not added
    to.
    """
    path = tmp_path / "kept.json"
    found = collection("disk/split-bin", "start/help")
    found.save(str(path))
    assert results.load(str(path)) == found
    assert results.here(str(path)).works == found.works
    path.write_text(path.read_text().replace(f'"cores": {found.machine["cores"]}', '"cores": 4711'))
    with pytest.raises(ValueError, match="another machine"):
        results.here(str(path))


def timed(shardctl: list[float], limit: list[float], nbytes: int = 10**9) -> results.Results:
    """A split that took so many seconds in each round, beside the bare loop and `cp`."""
    samples = {
        "cp -r": [Sample(seconds=9.0, peak=0)],
        "bare loop": [Sample(seconds=each, peak=0) for each in limit],
        "shardctl": [Sample(seconds=each, peak=0) for each in shardctl],
    }
    found = results.Results(results.machine(), {"shardctl": "0"})
    found.works["disk/split-bin"] = results.Measured("ext4", nbytes, 9, "cp -r", 0, samples)
    return found


KEPT_TIMES = timed([1.2, 1.2, 1.3], [1.0, 1.0, 1.1])


@pytest.mark.parametrize(
    ("shardctl", "limit", "slower"),
    [
        ([1.2, 1.2, 1.2], [1.0, 1.0, 1.0], False),
        ([1.3, 1.3, 1.3], [1.0, 1.0, 1.0], False),
        ([1.5, 1.5, 1.5], [1.0, 1.0, 1.0], True),
        # A disturbed run is not slower code, and a disturbed machine says little.
        ([9.0, 1.2, 1.2], [1.0, 1.0, 7.0], False),
        ([1.5, 1.9, 1.9], [1.0, 1.3, 1.3], False),
        # The disk is half as fast for both.
        ([2.4, 2.4, 2.4], [2.0, 2.0, 2.0], False),
    ],
)
def test_a_comparison_has_a_margin_from_its_spread(
    shardctl: list[float], limit: list[float], slower: bool
) -> None:
    """The least times count, by that of the bare loop, and the spread of both is allowed for."""
    text, beyond = run.compare(KEPT_TIMES, timed(shardctl, limit))
    assert beyond is slower
    assert text.count("(!)") == int(slower)


def test_works_of_another_size_are_not_compared() -> None:
    """A work is compared at the size at which it was kept, and no other."""
    with pytest.raises(SystemExit, match="at this size"):
        run.compare(KEPT_TIMES, timed([1.2], [1.0], nbytes=5 * 10**8))
    assert run.compare(KEPT_TIMES, timed([1.2], [1.0], nbytes=10**9 + 10**7))[1] is False
    assert run.compared_size(KEPT_TIMES) == str(10**9)


def test_the_yardstick_is_the_limit_without_a_loop() -> None:
    """Works without the bare loop are compared by their yardstick, as those that only read are."""
    works = ("start/help", "disk/verify-deep-bin")
    text, beyond = run.compare(collection(*works), collection(*works))
    assert beyond is False
    assert [work for work, _ in rows(text)] == list(works)


def test_nothing_to_compare_is_a_failure() -> None:
    """Where none of the works was measured before, the comparison ends with an error."""
    with pytest.raises(SystemExit, match="nothing to compare"):
        run.compare(collection("disk/split-bin"), collection("disk/merge-bin"))


def test_charts_are_pictures() -> None:
    """Each chart is well-formed, and draws a point for each measurement inside of its frame."""
    works = [work for work in WORKS if work.startswith(("size/", "headers/plan-1"))]
    pictures = report.charts(collection(*works))
    assert sorted(pictures) == [report.SIZE_CHART, report.TENSORS_CHART]
    for text in pictures.values():
        lines = ET.fromstring(text).findall("{*}polyline")  # noqa: S314 - made by the test itself
        assert {len(line.get("points", "").split()) for line in lines} == {4}
        for point in " ".join(line.get("points", "") for line in lines).split():
            x, y = map(float, point.split(","))
            assert 0 < x < charts.WIDTH
            assert 0 < y < charts.HEIGHT


@pytest.mark.parametrize("values", [(3.0,), (1.0, 1.0), (0.012, 37.5), (1000.0, 10.0**6)])
def test_an_axis_holds_its_values(values: tuple[float, ...]) -> None:
    """The ends of an axis lie around all values, even around a single one, and its grid lies
    between them.
    """
    found = charts.axis("", str, values)
    assert found.low < found.high
    assert all(-1e-9 <= found.part(value) <= 1 + 1e-9 for value in (*values, *found.ticks(300, 30)))
    assert list(found.ticks(300, 30))


def test_every_remark_is_about_something() -> None:
    """Each pattern of a remark matches a work, and each table of the page is that of a stage."""
    assert [
        pattern
        for pattern in remarks.LIMITS
        if not any(fnmatchcase(work, pattern) for work in WORKS)
    ] == []
    assert set(remarks.TITLES) == {work.partition("/")[0] for work in WORKS}


@pytest.mark.skipif(not KEPT.exists(), reason="nothing was measured yet")
def test_the_page_is_made_of_what_is_kept() -> None:
    """The page of the measurements and its charts are what would be written from the kept
    results.
    """
    kept = results.load(str(KEPT))
    assert (ROOT / "docs" / report.PAGE).read_text(encoding="utf-8") == report.page(kept)
    for name, text in report.charts(kept).items():
        assert (ROOT / "docs" / report.IMAGES / name).read_text(encoding="utf-8") == text


def test_groups_keep_a_reader_of_one_layer_in_one_file() -> None:
    """With groups, each layer needs one file and two requests; without them some need more, for the
    same tensors.
    """
    found = {
        options: layers.needs(make_plan(layers.model(64), request, measure_of(request)))
        for options, request in layers.WAYS.items()
    }
    grouped = found["--group-by layer"]
    assert len(grouped) == 32
    assert {(need.files, need.requests) for need in grouped} == {(1, 2)}
    assert all(need.nbytes == need.whole for need in grouped)
    request = replace(layers.WAYS[""], limits=Limits(max_shard_bytes=100_000))
    divided = layers.needs(make_plan(layers.model(64), request, measure_of(request)))
    assert max(need.files for need in divided) > 1
    assert all(need.requests >= 2 * need.files for need in divided)
