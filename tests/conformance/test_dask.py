"""A Dask cluster writes what threads write, whatever happens to its workers on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import shardctl
from shardctl.errors import StorageError, UsageError
from shardctl.stores.registry import open_store
from shardctl.stores.uploads import has_uploads
from shardctl.testing.builders import safetensors_bytes
from tests.support.dask_cluster import Cluster, cluster, wait_for
from tests.support.observers import Counting
from tests.support.program import RunCli, environment
from tests.support.s3_server import SETTINGS, make_bucket, needs_cloud, s3_server

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("distributed") is None,
        reason="needs Dask, of the group `dask`",
    ),
]
#: What makes a worker seem to have another version, and none.
OLDER = "from shardctl.engine.workers import distant\ndistant.__version__ = '0.0.1'\n"
MISSING = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "shardctl"]:
    del sys.modules[name]
sys.modules["shardctl"] = None
"""


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler that lets a task lose one worker, and no second one. It has no shardctl."""
    directory = tmp_path_factory.mktemp("dask") / "cluster"
    with cluster(directory, preload=MISSING, allowed_failures="1") as found:
        yield found


@pytest.fixture
def dask(scheduler: Cluster) -> Iterator[Cluster]:
    """The scheduler, without workers yet and with the gate open."""
    yield scheduler
    (scheduler.directory / "gate").unlink(missing_ok=True)
    scheduler.forget_held()
    for worker in scheduler.workers:
        worker.kill()
        worker.wait()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model of eight tensors, with a config."""
    directory = tmp_path / "source"
    directory.mkdir()
    tensors = {f"layer.{number}": ("F32", [50_000], os.urandom(200_000)) for number in range(8)}
    (directory / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    (directory / "config.json").write_text("{}")
    return directory


def files_in(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, hidden ones too."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def split(source: Path, target: Path | str, dask: Cluster, *more: str) -> list[str]:
    """The arguments of a split into four shards on the cluster."""
    return [
        *("split", str(source), str(target), "--num-shards", "4"),
        *("--scheduler", dask.url, *more),
    ]


def start(arguments: list[str], cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [sys.executable, "-m", "shardctl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=cwd,
    )


def kill_one(dask: Cluster) -> None:
    """Kill a worker that is held within a file, and let the others go on."""
    victim, *_ = dask.held()
    victim.kill()
    victim.wait()
    dask.open_gate()


def locally(source: Path, tmp_path: Path, **options: bool) -> dict[str, bytes]:
    """What threads write."""
    shardctl.write(source, tmp_path / "local", num_shards=4, record=False, **options)  # type: ignore[arg-type]
    return files_in(tmp_path / "local")


def test_the_bytes_are_those_of_threads(source: Path, tmp_path: Path, dask: Cluster) -> None:
    """A run on two workers, with checksums, read back, has the files of a local run and no other;
    each byte of each file is counted once.
    """
    dask.add(2)
    counted = Counting()
    done = shardctl.write(
        source,
        tmp_path / "target",
        num_shards=4,
        checksums=True,
        read_back=True,
        scheduler=dask.url,
        observer=counted,
    )
    assert len(done.files) == 6
    assert files_in(tmp_path / "target") == locally(source, tmp_path, checksums=True)
    assert counted.advanced == counted.sizes == counted.done


def test_the_command_line(source: Path, tmp_path: Path, dask: Cluster, run_cli: RunCli) -> None:
    """Paths are those of the working directory, whatever that of the workers is; `--json` and
    progress are as with threads.
    """
    dask.add(1)
    done = run_cli(
        *split(Path("source"), Path("target"), dask, "--json", "--progress", "json", "--jobs", "1"),
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)["done"] is True
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [event["event"] for event in events].count("shard-done") == 6
    assert events[-1]["done"] == events[-1]["total"]
    assert files_in(tmp_path / "target") == locally(source, tmp_path)
    again = run_cli(*split(source, tmp_path / "target", dask))
    assert "up to date" in again.stderr


def test_a_worker_is_killed(source: Path, tmp_path: Path, dask: Cluster) -> None:
    """The tasks of a worker that gets SIGKILL within a file are done by another, and what it left
    is gone.
    """
    dask.add(2)
    dask.close_gate()
    with start(split(source, tmp_path / "target", dask)) as running:
        wait_for(lambda: len(dask.held()) == 2)
        tries = list((tmp_path / "target" / ".shardctl" / "files").iterdir())
        assert len(tries) == 2
        kill_one(dask)
        out, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert out == f"{tmp_path / 'target' / 'model.safetensors.index.json'}\n"
    assert files_in(tmp_path / "target") == locally(source, tmp_path)


def test_a_task_that_kills_workers_ends_the_run(
    source: Path, tmp_path: Path, dask: Cluster
) -> None:
    """A task whose workers die one after another is given up after so many as the scheduler allows,
    with what to do; the next run goes on.
    """
    dask.add(1)
    dask.close_gate()
    with start(split(source, tmp_path / "target", dask, "--jobs", "1")) as running:
        for number in (1, 2):
            wait_for(dask.held)
            dask.held()[0].kill()
            if number == 1:
                dask.add(1)
        out, said = running.communicate(timeout=120)
    assert (running.returncode, out) == (5, "")
    assert "was lost" in said
    assert "workers' logs" in said
    assert files_in(tmp_path / "target") == {}
    dask.open_gate()
    dask.add(1)
    with start(split(source, tmp_path / "target", dask)) as running:
        _, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert files_in(tmp_path / "target") == locally(source, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda each: each.name)
def test_a_run_is_stopped(
    source: Path, tmp_path: Path, dask: Cluster, number: signal.Signals
) -> None:
    """Ctrl-C, or a kill of the command, ends the tasks on the workers, which remove what they were
    writing; the same command goes on from there.
    """
    dask.add(2)
    dask.close_gate()
    target = tmp_path / "target"
    with start(split(source, target, dask)) as running:
        wait_for(lambda: len(dask.held()) == 2)
        begun = time.monotonic()
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    if number == signal.SIGINT:
        assert running.returncode == 130
        assert time.monotonic() - begun < 20
        assert "interrupted (SIGINT); finished files are kept" in said
        assert "Traceback" not in said
    # The gate is closed: they go, though nothing was written since.
    wait_for(lambda: not list(target.glob(".shardctl/files/*")))
    dask.open_gate()
    with start(split(source, target, dask)) as running:
        _, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert files_in(target) == locally(source, tmp_path)


def test_the_scheduler_is_lost(source: Path, tmp_path: Path) -> None:
    """A scheduler that is gone ends the run, with its address, and a run without it resumes."""
    with cluster(tmp_path / "cluster") as dask:
        dask.add(2)
        dask.close_gate()
        with start(split(source, tmp_path / "target", dask)) as running:
            wait_for(lambda: len(dask.held()) == 2)
            dask.scheduler.kill()
            out, said = running.communicate(timeout=120)
    assert (running.returncode, out) == (5, "")
    assert f"the scheduler at {dask.url} is gone" in said
    shardctl.write(source, tmp_path / "target", num_shards=4)
    assert files_in(tmp_path / "target") == locally(source, tmp_path)


def test_a_frozen_worker_wakes_up(source: Path, tmp_path: Path) -> None:
    """A worker that was given up, and whose task another one did, changes nothing when it goes on,
    not even in a later run.
    """
    with cluster(tmp_path / "cluster", worker_ttl="8s") as dask:
        dask.add(2)
        dask.close_gate()
        with start(split(source, tmp_path / "target", dask)) as running:
            wait_for(lambda: len(dask.held()) == 2)
            frozen, _ = dask.held()
            frozen.send_signal(signal.SIGSTOP)
            dask.open_gate()
            _, said = running.communicate(timeout=120)
            assert running.returncode == 0, said
        expected = locally(source, tmp_path)
        assert files_in(tmp_path / "target") == expected
        frozen.send_signal(signal.SIGCONT)
        log = dask.directory / f"worker-{dask.workers.index(frozen)}"
        wait_for(lambda: frozen.poll() is not None or log.read_text().count("Registered to") > 1)
        assert files_in(tmp_path / "target") == expected


def test_another_version_is_refused(
    source: Path, tmp_path: Path, dask: Cluster, run_cli: RunCli
) -> None:
    """A worker of another version is a usage error that names both, and nothing is left."""
    dask.add(1, preload=OLDER)
    done = run_cli(*split(source, tmp_path / "target", dask), code=2)
    assert "has shardctl 0.0.1 on Python 3" in done.stderr
    assert f"the machine that planned has shardctl {shardctl.__version__} on" in done.stderr
    assert not (tmp_path / "target").exists()


def test_a_worker_without_the_program(source: Path, tmp_path: Path, dask: Cluster) -> None:
    """A worker without shardctl is an error that says which version it needs."""
    dask.add(1, preload=MISSING)
    with pytest.raises(UsageError, match=f"no shardctl.* has shardctl {shardctl.__version__}"):
        shardctl.write(source, tmp_path / "target", scheduler=dask.url)
    assert not (tmp_path / "target").exists()


def test_no_scheduler(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no scheduler answers the error has its address, and nothing is left."""
    monkeypatch.setattr("shardctl.engine.workers.dask._CONNECT_SECONDS", 1)
    with pytest.raises(StorageError, match="no Dask scheduler answers at tcp://127"):
        shardctl.write(source, tmp_path / "target", scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "target").exists()


@pytest.fixture
def bucket(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a bucket on a server of moto, which the command and the workers reach."""
    directory = tmp_path_factory.mktemp("moto")
    with s3_server(directory) as url:
        for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_STATE_HOME", str(directory / "state"))
        make_bucket(f"{url}/models")
        yield "s3://models/t"


def uploads(url: str) -> list[str]:
    """The names of what is being uploaded."""
    store, path = open_store(url)
    assert has_uploads(store)
    return sorted(upload.path.rpartition("/")[2] for upload in store.uploads(path))


def objects_in(url: str) -> dict[str, bytes]:
    """Every object of a directory in a bucket."""
    store, path = open_store(url)
    found: dict[str, bytes] = {}
    for entry in store.list(path):
        with store.open(store.join(path, entry.name)) as reader:
            found[entry.name] = reader.read(0, reader.version.size)
    return found


@needs_cloud
def test_workers_upload(source: Path, tmp_path: Path, dask: Cluster, bucket: str) -> None:
    """Workers write into a bucket what threads write on a disk, also where one is killed within a
    file; no upload is left.
    """
    dask.add(2)
    dask.close_gate()
    with start(split(source, bucket, dask)) as running:
        wait_for(lambda: len(dask.held()) == 2)
        assert len(uploads(bucket)) == 2
        kill_one(dask)
        out, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert out == f"{bucket}/model.safetensors.index.json\n"
    assert objects_in(bucket) == locally(source, tmp_path)
    assert uploads(bucket) == []


@needs_cloud
def test_a_run_into_a_bucket_is_stopped(
    source: Path, tmp_path: Path, dask: Cluster, bucket: str
) -> None:
    """Ctrl-C ends the uploads of the workers; the same command goes on from what is whole."""
    dask.add(2)
    dask.close_gate()
    with start(split(source, bucket, dask)) as running:
        wait_for(lambda: len(dask.held()) == 2)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    wait_for(lambda: uploads(bucket) == [])
    dask.open_gate()
    with start(split(source, bucket, dask)) as running:
        _, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert objects_in(bucket) == locally(source, tmp_path)
    assert uploads(bucket) == []
