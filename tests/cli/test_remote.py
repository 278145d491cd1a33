"""The commands on checkpoints of other machines: what they ask for is counted by the servers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardctl.testing.builders import safetensors_bytes
from tests.support.program import ROOT, environment, run_cli
from tests.support.web_server import Fault, WebServer, hub

SHARDS = 12
#: Bytes of the large tensor in each shard.
LARGE = 400_000
INDEX = "model.safetensors.index.json"
SECRET = "s3cr3t"  # noqa: S105 - the servers of the tests know no other


def shard(number: int) -> str:
    """The name of a shard."""
    return f"model-{number:05d}-of-{SHARDS:05d}.safetensors"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the repository `org/model`: shards, an index and a config."""
    root = tmp_path_factory.mktemp("hub")
    directory = root / "org" / "model"
    directory.mkdir(parents=True)
    weight_map = {}
    for number in range(1, SHARDS + 1):
        large = os.urandom(LARGE)
        tensors = {
            f"layers.{number}.large": ("F32", [LARGE // 4], large),
            f"layers.{number}.small": ("F32", [10], large[:40]),
        }
        (directory / shard(number)).write_bytes(safetensors_bytes(tensors))
        weight_map.update(dict.fromkeys(tensors, shard(number)))
    index = {"metadata": {"total_size": SHARDS * (LARGE + 40)}, "weight_map": weight_map}
    (directory / INDEX).write_text(json.dumps(index))
    (directory / "config.json").write_text('{"model_type": "bert"}')
    return root


@pytest.fixture
def server(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WebServer]:
    """A hub with that repository, which the program asks; `hub` is the server with its bytes."""
    with hub(repository) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", f"hf_{SECRET}")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        yield server


def ranges(server: WebServer) -> list[tuple[int, int] | None]:
    """The ranges that were asked of the server with the bytes."""
    assert server.hub is not None
    return [request.extent for request in server.hub.requests]


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("command", ["inspect", "verify", "split"])
def test_headers_take_one_request_each(server: WebServer, tmp_path: Path, command: str) -> None:
    """Looking at a remote directory asks for the beginning of each file once, several at once, and
    the summary says how much that was.
    """
    assert server.hub is not None
    server.hub.delay = 0.05
    target = [tmp_path / "target", "--dry-run"] if command == "split" else []
    done = run_cli(command, "hf://org/model", *target)
    assert server.hub.nbytes <= (SHARDS + 2) * 100_000
    assert len(server.hub.requests) <= SHARDS + 2
    assert server.hub.most_at_once >= 4
    assert not (tmp_path / "target").exists()
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("network: "))
    assert " requests, " in line
    assert "received" in line


def test_a_long_header_takes_two_requests(server: WebServer, repository: Path) -> None:
    """A header that the first request does not bring whole takes one more, for the rest of it."""
    directory = repository / "org" / "long"
    directory.mkdir()
    names = [f"layers.{number}.{'x' * 80}" for number in range(2000)]
    data = safetensors_bytes({name: ("F32", [100], bytes(400)) for name in names})
    (directory / "model.safetensors").write_bytes(data)
    header = int.from_bytes(data[:8], "little")
    assert header > 200_000
    run_cli("inspect", "hf://org/long")
    assert ranges(server) == [(0, 99_999), (100_000, 8 + header - 1)]


def test_a_remote_checkpoint_is_written_as_a_local_one(
    server: WebServer, repository: Path, tmp_path: Path
) -> None:
    """The same files come of a URL as of the directory, config and index included."""
    size = "--max-shard-size=1MB"
    run_cli("split", repository / "org" / "model", tmp_path / "local", size)
    for source in ("hf://org/model", f"{server.url}/org/model/{INDEX}"):
        if source.startswith("http"):
            server.hub, place = None, server.hub
        run_cli("split", source, tmp_path / "remote", size)
        expected = contents(tmp_path / "local")
        if source.startswith("http"):
            server.hub = place
            del expected["config.json"]  # a web server does not list what lies beside an index
        assert contents(tmp_path / "remote") == expected
        for path in (tmp_path / "remote").iterdir():
            path.unlink()


def test_a_run_is_up_to_date(server: WebServer, tmp_path: Path) -> None:
    """Where the result is there already, only headers are asked for; a new commit is noticed."""
    assert server.hub is not None
    run_cli("merge", "hf://org/model", tmp_path / "target")
    server.hub.forget()
    assert "up to date" in run_cli("merge", "hf://org/model@main", tmp_path / "target").stderr
    assert server.hub.nbytes < (SHARDS + 2) * 100_000


def test_a_selection_fetches_what_it_needs(server: WebServer, tmp_path: Path) -> None:
    """Of the tensors' bytes, those that are chosen are fetched and no others."""
    assert server.hub is not None
    run_cli("split", "hf://org/model", tmp_path / "dry", "--dry-run")
    looking = server.hub.nbytes
    server.hub.forget()
    run_cli("merge", "hf://org/model", tmp_path / "target", "--include", "layers.7.*")
    assert server.hub.nbytes - looking < LARGE + 10_000


@pytest.mark.parametrize("to", ["bin", "safetensors"])
def test_checksums_take_no_second_look(
    server: WebServer, repository: Path, tmp_path: Path, to: str
) -> None:
    """Bytes with a recorded checksum are summed as they come in, and damage is found."""
    import torch

    assert server.hub is not None
    (repository / "org" / "zip").mkdir(exist_ok=True)
    path = repository / "org" / "zip" / "pytorch_model.bin"
    torch.save({f"t{number}": torch.rand(100_000) for number in range(4)}, path)
    local, target = tmp_path / "local", tmp_path / "target"
    run_cli("reshard", path, local, "--to", to)
    run_cli("reshard", "hf://org/zip", target, "--to", to)
    assert contents(target) == contents(local)
    assert server.hub.nbytes < path.stat().st_size + 600_000
    data = bytearray(path.read_bytes())
    data[700_000] ^= 1
    path.write_bytes(data)
    if to == "safetensors":
        failed = run_cli("reshard", "hf://org/zip", tmp_path / "damaged", "--to", to, code=3)
        assert "CRC-32" in failed.stderr


def test_no_copy_is_kept_beside_the_target(server: WebServer, tmp_path: Path) -> None:
    """Every byte is fetched once, into the target: nothing as large lies elsewhere."""
    assert server.hub is not None
    run_cli("reshard", "hf://org/model", tmp_path / "target", "--num-shards", "3")
    total = SHARDS * LARGE
    assert server.hub.nbytes < total + (SHARDS + 5) * 100_000
    elsewhere = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path.stat().st_size > 50_000 and "target" not in path.parts
    ]
    assert elsewhere == []


def test_broken_connections_are_survived(server: WebServer, tmp_path: Path) -> None:
    """Busy servers and broken connections delay a run; its result is the same."""
    assert server.hub is not None
    run_cli("merge", "hf://org/model", tmp_path / "whole")
    server.faults.append(Fault("/api/models", 1, 503))
    server.hub.faults += [
        Fault(".", 3, 503),
        Fault(".", 2, 429, {"Retry-After": "1"}),
        Fault(".", 6, cut=60_000),
    ]
    run_cli("merge", "hf://org/model", tmp_path / "target")
    assert contents(tmp_path / "target") == contents(tmp_path / "whole")
    assert all(fault.times == 0 for fault in server.hub.faults)


def test_a_killed_run_goes_on(server: WebServer, tmp_path: Path) -> None:
    """After a kill the target shows nothing, and the next run fetches only what is not there."""
    assert server.hub is not None
    arguments = ["reshard", "hf://org/model", str(tmp_path / "target"), "--num-shards=6", "-j2"]
    server.hub.delay = 0.1
    process = subprocess.Popen(
        [sys.executable, "-m", "shardctl", *arguments],
        env=environment(),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            receipts = tmp_path / "target" / ".shardctl" / "receipts.jsonl"
            if receipts.exists() and receipts.read_text().count("\n") >= 3:
                break
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [path.name for path in (tmp_path / "target").iterdir()] == [".shardctl"]
    server.hub.forget()
    server.hub.delay = 0.0
    run_cli(*arguments)
    assert server.hub.nbytes < SHARDS * LARGE + (SHARDS + 2) * 100_000 - 2 * LARGE
    run_cli("reshard", "hf://org/model", tmp_path / "whole", "--num-shards=6")
    assert contents(tmp_path / "target") == contents(tmp_path / "whole")


def test_a_source_that_changes_is_an_error(
    server: WebServer, repository: Path, tmp_path: Path
) -> None:
    """A file that is another one on the server in the middle of a run is exit code 3, by name."""
    assert server.hub is not None
    place = server.hub
    (repository / "changing.safetensors").write_bytes(
        safetensors_bytes({"a": ("F32", [LARGE], bytes(4 * LARGE))})
    )
    place.changes["/changing.safetensors"] = safetensors_bytes(
        {"a": ("F32", [LARGE], b"\1" * 4 * LARGE)}
    )
    url = f"{place.url}/changing.safetensors"
    failed = run_cli("split", url, tmp_path / "target", code=3)
    assert f"'{url}' changed on the server" in failed.stderr
    assert not (tmp_path / "target").exists()


@pytest.mark.usefixtures("server")
def test_nothing_is_written_to_a_url(repository: Path, tmp_path: Path) -> None:
    """A URL as TARGET is a usage error, before anything is asked for."""
    (tmp_path / "m.safetensors").write_bytes(safetensors_bytes({"a": ("F32", [1], bytes(4))}))
    failed = run_cli("merge", tmp_path / "m.safetensors", "hf://org/new", code=2)
    assert "only read" in failed.stderr
    unlisted = repository / "org" / "unlisted"
    unlisted.mkdir()
    for number in range(1, SHARDS + 1):
        shutil.copy(repository / "org" / "model" / shard(number), unlisted)
    run_cli("index", "hf://org/unlisted", "--check", code=1)
    failed = run_cli("index", "hf://org/unlisted", code=2)
    assert "only read" in failed.stderr


def test_a_plan_of_a_url_is_applied(server: WebServer, repository: Path, tmp_path: Path) -> None:
    """A plan that was made of a URL holds no credential, and is applied by parts to it, or to the
    directory of the same files.
    """
    assert server.hub is not None
    run_cli("split", repository / "org" / "model", tmp_path / "expected", "--num-shards", "3")
    arguments = ("split", "hf://org/model", tmp_path / "target", "--num-shards", "3")
    plan = tmp_path / "plan.json"
    plan.write_text(run_cli(*arguments, "--dry-run", "--json").stdout)
    assert SECRET not in plan.read_text()
    for number in (1, 2):
        server.hub.forget()
        run_cli("apply", plan, "--part", f"{number}/2")
        assert server.hub.nbytes < (SHARDS + 2) * 100_000 + SHARDS * LARGE
    run_cli("apply", plan, "--commit")
    assert contents(tmp_path / "target") == contents(tmp_path / "expected")
    local = ("--source", repository / "org" / "model", "--target", tmp_path / "local")
    applied = run_cli("apply", plan, *local)
    note = "made from a URL, and is applied to files: of 13 files it was compared with the sizes"
    assert f"{note} and headers alone" in applied.stderr
    assert contents(tmp_path / "local") == contents(tmp_path / "expected")


@pytest.mark.usefixtures("server")
def test_a_copy_with_recorded_digests_is_compared_with_them(
    repository: Path, tmp_path: Path
) -> None:
    """Where the hub's library has noted the SHA-256 of what it downloaded, it is that of the plan,
    or the copy is refused; a plan of the copy says that the hub's versions are none of it.
    """
    plan, copy = tmp_path / "plan.json", tmp_path / "copy"
    arguments = ("split", "hf://org/model", tmp_path / "target", "--num-shards", "3")
    plan.write_text(run_cli(*arguments, "--dry-run", "--json").stdout)
    shutil.copytree(repository / "org" / "model", copy)
    records = copy / ".cache" / "huggingface" / "download"
    records.mkdir(parents=True)
    for number in (1, 2):
        digest = hashlib.sha256((copy / shard(number)).read_bytes()).hexdigest()
        (records / f"{shard(number)}.metadata").write_text(f"commit\n{digest}\n0\n")
    local = ("apply", plan, "--source", copy, "--target", tmp_path / "local")
    assert "and with the SHA-256 recorded for 2 of them" in run_cli(*local).stderr
    (records / f"{shard(2)}.metadata").write_text(f"commit\n{'0' * 64}\n0\n")
    refused = run_cli(*local, "--replace", code=3)
    assert f"'{shard(2)}' has other contents" in refused.stderr
    plan.write_text(run_cli("split", copy, tmp_path / "b", "--dry-run", "--json").stdout)
    applied = run_cli("apply", plan, "--source", "hf://org/model")
    assert "made from files, and is applied to a URL" in applied.stderr


@pytest.mark.parametrize("source", ["hf://org/model", "web"])
def test_no_secret_is_written_anywhere(server: WebServer, tmp_path: Path, source: str) -> None:
    """Neither outputs nor files, those of a run that was cut off included, have a credential."""
    assert server.hub is not None
    place = server.hub
    if source == "web":
        url = place.url.replace("//", f"//me:{SECRET}@")
        source = f"{url}/org/model/{shard(1)}?sig={SECRET}"
    target = tmp_path / "target"
    place.faults.append(Fault(".", 1, cut=10))
    said = [
        run_cli("inspect", source, "--json", "--verbose", "--report", tmp_path / "a.html"),
        run_cli("verify", source, "--json", "--verbose", "--report", tmp_path / "b.html"),
        run_cli("verify", source, "--deep", "--json", "--debug"),
        run_cli("index", source, "--check", "--json", code=1 if source[:2] == "hf" else 3),
        run_cli("diff", source, source, "--json"),
    ]
    if source[:2] == "hf":
        said += [
            run_cli("split", source, target, "--dry-run", "--json", "--verbose", "--debug"),
            run_cli(
                "split", source, target, "--json", "--verbose", "--report", tmp_path / "c.html"
            ),
        ]
    place.faults.append(Fault(".", 99, 403))
    said.append(run_cli("inspect", source, "--json", "--debug", code=5))
    for done in said:
        assert SECRET not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
