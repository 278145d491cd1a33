"""The commands into buckets of a real S3 server: what is there at each moment, and at the end."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from shardctl.testing.builders import safetensors_bytes
from tests.support.program import ROOT, Call, environment, run_cli
from tests.support.radosgw import needs_radosgw, radosgw
from tests.support.s3_server import SECRET, SETTINGS, make_bucket, needs_cloud, s3_server

pytestmark = needs_cloud
INDEX = "model.safetensors.index.json"
MIB = 1024 * 1024
TENSORS = 24
#: What an `x-amz-meta` token or an answer may never have beside it.
MARKERS = (SECRET, "Signature", "Credential=")


SERVERS = {"moto": s3_server, "ceph": radosgw}


@pytest.fixture(
    scope="module", params=["moto", pytest.param("ceph", marks=[needs_radosgw, pytest.mark.slow])]
)
def s3(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an S3 server, in another process."""
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one file of 24 tensors of 1 MiB, and a configuration."""
    directory = tmp_path_factory.mktemp("model")
    chance = random.Random(7)
    tensors = {
        f"layers.{number:02d}.weight": ("F32", [MIB // 4], chance.randbytes(MIB))
        for number in range(TENSORS)
    }
    (directory / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    (directory / "config.json").write_text("{}")
    return directory


class Bucket:
    """A bucket as its owner sees it, and its URL."""

    def __init__(self, endpoint: str, name: str) -> None:
        import botocore.session

        make_bucket(f"{endpoint}/{name}")
        self.name = name
        self.url = f"s3://{name}"
        self.client: Any = botocore.session.Session().create_client("s3", endpoint_url=endpoint)

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Every object below a prefix, by what follows it."""
        listed = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        keys = [each["Key"] for each in listed.get("Contents", ())]
        return {key.removeprefix(prefix): self.get(key) for key in keys}

    def get(self, key: str) -> bytes:
        """The bytes of an object."""
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def uploads(self) -> list[str]:
        """The keys of the uploads that have not ended."""
        listed = self.client.list_multipart_uploads(Bucket=self.name)
        return [each["Key"] for each in listed.get("Uploads", ())]


@pytest.fixture
def bucket(
    s3: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> Bucket:
    """An empty bucket, which the program reaches."""
    for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": s3}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Bucket(s3, re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60])


def local(call: Call, directory: Path, *arguments: object) -> dict[str, bytes]:
    """The files that a command writes on this machine."""
    call(*arguments[:2], directory, *arguments[2:])
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def shown_by_a_loader(objects: Mapping[str, bytes]) -> dict[str, bytes] | None:
    """What a loader takes of these objects; None where it finds nothing."""
    if "model.safetensors" in objects:
        return {"model.safetensors": objects["model.safetensors"]}
    if INDEX not in objects:
        return None
    names = set(json.loads(objects[INDEX])["weight_map"].values())
    return {name: objects[name] for name in (INDEX, *names)}


def test_a_split_has_the_bytes_that_it_has_on_a_disk(
    bucket: Bucket, model: Path, tmp_path: Path, call: Call
) -> None:
    """Files, index, companions and checksums are those of a local run, and nothing else is left."""
    asked = ("split", model, "--max-shard-size", "9MB", "--checksums")
    out, err = call(*asked[:2], f"{bucket.url}/new", *asked[2:])
    assert out == f"{bucket.url}/new/{INDEX}\n"
    assert bucket.objects("new/") == local(call, tmp_path / "local", *asked)
    assert bucket.uploads() == []
    (line,) = (line for line in err.splitlines() if line.startswith("network:"))
    assert "25.2 MB sent" in line
    assert "up to date" in call(*asked[:2], f"{bucket.url}/new", *asked[2:])[1]
    call("verify", f"{bucket.url}/new", "--deep", "--against", model)


def test_a_merge_into_one_object(bucket: Bucket, model: Path, tmp_path: Path, call: Call) -> None:
    """TARGET may be the URL of a file, also at the top of a bucket."""
    call("split", model, tmp_path / "shards", "--max-shard-size", "9MB")
    out, _ = call("merge", tmp_path / "shards", f"{bucket.url}/merged.safetensors")
    assert out == f"{bucket.url}/merged.safetensors\n"
    call("merge", tmp_path / "shards", tmp_path / "merged.safetensors")
    assert bucket.objects() == {
        "merged.safetensors": (tmp_path / "merged.safetensors").read_bytes()
    }


@pytest.mark.parametrize("to", ["safetensors", "bin"])
def test_a_conversion_has_the_bytes_that_it_has_on_a_disk(
    bucket: Bucket, model: Path, tmp_path: Path, call: Call, to: str
) -> None:
    """Checksums that follow their bytes are written in order, whatever the formats."""
    source = tmp_path / "source"
    call("reshard", model, source, "--to", "bin" if to == "safetensors" else "safetensors")
    asked = ("reshard", source, "--to", to, "--num-shards", "2")
    call(*asked[:2], f"{bucket.url}/new", *asked[2:])
    assert bucket.objects("new/") == local(call, tmp_path / "local", *asked)


def test_a_distributed_checkpoint(bucket: Bucket, model: Path, tmp_path: Path, call: Call) -> None:
    """It has the bytes that it has on a disk, replaces one of the same names, also the one that is
    read, and is read again.
    """
    target = f"{bucket.url}/dcp"
    for source, size in ((model, "9MB"), (target, "13MB")):
        asked = ("reshard", source, "--to", "dcp", "--max-shard-size", size, "--replace")
        # A run in place removes what the second one would read.
        expected = local(call, tmp_path / f"local-{size}", *asked)
        out, _ = call(*asked[:2], target, *asked[2:])
        assert out == f"{target}\n"
        assert bucket.objects("dcp/") == expected
        assert ".metadata" in expected
    call("verify", target, "--against", model, "--deep")
    call("merge", target, tmp_path / "back.safetensors", "--to", "safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == (
        model / "model.safetensors"
    ).read_bytes()


def test_the_server_copies_from_bucket_to_bucket(
    bucket: Bucket, model: Path, tmp_path: Path, call: Call
) -> None:
    """Only the first part of each file is sent, and the document says how many bytes that are."""
    call("split", model, f"{bucket.url}/old", "--max-shard-size", "13MB")
    out, err = call("reshard", f"{bucket.url}/old", f"{bucket.url}/new", "--single", "--json")
    document = json.loads(out)
    size = document["shards"][0]["size"]
    copied, network = document["copied"], document["network"]
    assert copied["server"] == network["copied"] == size - 5 * MIB
    assert copied["buffered"] == 5 * MIB + len("{}")
    assert network["sent"] == copied["buffered"]
    assert network["received"] < 5 * MIB + 600_000
    assert "copied by the server" in err
    assert bucket.objects("new/") == local(
        call, tmp_path / "local", "reshard", f"{bucket.url}/old", "--single"
    )


def test_replacing_a_set_of_the_same_names(bucket: Bucket, model: Path, call: Call) -> None:
    """Without the option what exists is refused; with it the old set is gone, and the new whole."""
    target = f"{bucket.url}/t"
    call("split", model, target, "--max-shard-size", "9MB")
    before = bucket.objects("t/")
    asked = ("reshard", model, target, "--max-shard-size", "9MB", "--dtype", "F16")
    _, err = call(*asked, code=4)
    assert "already holds a checkpoint" in err
    assert bucket.objects("t/") == before
    call(*asked, "--replace", "--replace-companions")
    after = bucket.objects("t/")
    assert sorted(after) != sorted(before)
    assert set(json.loads(after[INDEX])["weight_map"].values()) == {
        name for name in after if name.endswith(".safetensors")
    }
    call("verify", target, "--deep")


def test_in_place(bucket: Bucket, model: Path, call: Call) -> None:
    """A set is replaced by its own shards in another number."""
    target = f"{bucket.url}/t"
    call("split", model, target, "--max-shard-size", "9MB")
    call("reshard", target, target, "--num-shards", "2", "--replace")
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    assert sorted(bucket.objects("t/")) == ["config.json", *shards, INDEX]
    call("verify", target, "--deep", "--against", model)


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a command, in another process."""
    return subprocess.Popen(
        [sys.executable, "-m", "shardctl", *map(str, arguments)],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("scenario", ["split", "replace", "merge"])
def test_killed_at_any_moment(bucket: Bucket, model: Path, tmp_path: Path, scenario: str) -> None:
    """A loader finds the old set, the new one or none, and the same command ends it."""
    target = f"{bucket.url}/t"
    asked: list[object] = ["split", model, target, "--max-shard-size", "6MB"]
    if scenario == "merge":
        run_cli("split", model, tmp_path / "shards", "--max-shard-size", "9MB")
        asked = ["merge", tmp_path / "shards", f"{target}/model.safetensors"]
    if scenario == "replace":
        run_cli("split", model, target, "--max-shard-size", "6MB", "--include", "*0*")
        old = shown_by_a_loader(bucket.objects("t/"))
        asked += ["--replace"]
    else:
        old = None
    begun = time.monotonic()
    clean = [each if each != target else f"{bucket.url}/whole" for each in asked]
    clean = [str(each).replace(f"{target}/", f"{bucket.url}/whole/") for each in clean]
    run_cli(*clean)
    took = time.monotonic() - begun
    whole = bucket.objects("whole/")
    chance = random.Random(scenario)
    for _ in range(5):
        process = start(*asked)
        time.sleep(took * chance.uniform(0.3, 1.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = shown_by_a_loader(bucket.objects("t/"))
        assert there in (None, old, shown_by_a_loader(whole))
    run_cli(*asked)
    objects = bucket.objects("t/")
    assert {name: objects[name] for name in whole} == whole
    assert not [name for name in objects if name.startswith(".shardctl")]
    assert bucket.uploads() == []


def wait_for(bucket: Bucket, prefix: str, count: int) -> None:
    """Wait until there are so many objects below a prefix."""
    for _ in range(600):
        if len(bucket.objects(prefix)) >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"nothing appears at {prefix}")


def test_a_signal_keeps_whole_uploads_and_aborts_the_others(bucket: Bucket, model: Path) -> None:
    """What is uploaded whole is kept for the same command, which then sends only the rest."""
    asked = ["split", model, f"{bucket.url}/t", "--max-shard-size", "2MB", "-j1"]
    process = start(*asked)
    wait_for(bucket, "t/.shardctl/receipts/", 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGINT, err
    receipts = bucket.objects("t/.shardctl/receipts/")
    assert sorted(bucket.uploads()) == sorted(f"t/{name}" for name in receipts)
    assert not [name for name in bucket.objects("t/") if not name.startswith(".shardctl/")]
    document = json.loads(run_cli(*asked, "--json").stdout)
    kept = sum(size for name, size in sizes(document) if name in receipts)
    assert kept > 0
    assert document["network"]["sent"] < sum(size for _, size in sizes(document)) - kept + 10_000
    assert bucket.uploads() == []


def sizes(document: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The names and the bytes of the shards in a document."""
    return [(shard["name"], shard["size"]) for shard in document["shards"]]


def test_the_second_of_two_writers(bucket: Bucket, model: Path, call: Call) -> None:
    """It is refused, with the holder of the lock; one of an ended process is taken over."""
    import platform

    holder = {"host": "elsewhere", "pid": 1, "processes": None, "since": "today"}
    lock = "t/.shardctl/lock"
    bucket.client.put_object(Bucket=bucket.name, Key=lock, Body=json.dumps(holder))
    asked = ("split", model, f"{bucket.url}/t", "--max-shard-size", "9MB")
    _, err = call(*asked, code=4)
    assert "locked by process 1 on elsewhere" in err
    assert f"remove 's3://{bucket.name}/{lock}'" in err
    assert sorted(bucket.objects("t/")) == [".shardctl/lock"]
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own = {"host": platform.node(), "pid": ended.pid, "processes": os.readlink("/proc/self/ns/pid")}
    bucket.client.put_object(Bucket=bucket.name, Key=lock, Body=json.dumps(own))
    call(*asked)
    assert INDEX in bucket.objects("t/")
    assert lock not in bucket.objects()


def test_what_cannot_be_read_back_is_not_promised(bucket: Bucket, model: Path, call: Call) -> None:
    """`--verify` is refused before anything is sent, with what to use in its place."""
    _, err = call("split", model, f"{bucket.url}/t", "--verify", code=2)
    assert "--verify" in err
    assert "shardctl verify --against" in err
    assert bucket.objects() == {}


def test_no_secret_is_left_anywhere(
    bucket: Bucket, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials are in no output, no journal, no plan, no record and no object."""
    token = "t0ken" * 4
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    target = f"{bucket.url}/t"
    outputs: list[str] = []
    asked = ["split", model, target, "--max-shard-size", "2MB", "-j1", "--debug"]
    done = run_cli(*asked, "--dry-run", "--json")
    outputs += [done.stdout, done.stderr]
    process = start(*asked)
    wait_for(bucket, "t/.shardctl/receipts/", 3)
    process.send_signal(signal.SIGINT)
    outputs += process.communicate()
    journal = bucket.objects("t/.shardctl/")
    assert journal
    done = run_cli(*asked, "--json", "-v")
    outputs += [done.stdout, done.stderr]
    records = [path.read_text() for path in (tmp_path / "state").rglob("*.json")]
    assert records
    texts = [*outputs, *records, *(data.decode("latin-1") for data in bucket.objects().values())]
    texts += [data.decode("latin-1") for data in journal.values()]
    for text in texts:
        assert not [marker for marker in (*MARKERS, token) if marker in text]


def test_the_index_is_written_into_a_bucket(bucket: Bucket, model: Path, call: Call) -> None:
    """`index` makes the index of the shards in a bucket, and leaves nothing else there."""
    target = f"{bucket.url}/t"
    call("split", model, target, "--max-shard-size", "9MB")
    before = bucket.objects("t/")
    bucket.client.delete_object(Bucket=bucket.name, Key=f"t/{INDEX}")
    call("index", target)
    assert bucket.objects("t/") == before


@pytest.mark.parametrize("url", ["gs://bucket/t", "az://bucket/t", "https://host/t"])
def test_other_urls_are_only_read(model: Path, call: Call, url: str) -> None:
    """Of all URLs only those of s3:// are targets."""
    _, err = call("split", model, url, code=2)
    assert "only read" in err


@pytest.fixture
def plan(bucket: Bucket, model: Path, tmp_path: Path, call: Call) -> Path:
    """A saved plan of a split into a bucket, in twelve shards."""
    path = tmp_path / "plan.json"
    asked = ("split", model, f"{bucket.url}/t", "--num-shards", "12", "--checksums")
    path.write_text(call(*asked, "--dry-run", "--json")[0])
    return path


def test_parts_write_into_a_bucket(
    bucket: Bucket, model: Path, tmp_path: Path, call: Call, plan: Path
) -> None:
    """Parts at once, one of them twice, and a commit have the objects of one run; before it no
    file appears, and what is missing is said.
    """
    call("apply", plan, "--part", "3/3")
    assert "by parts of the plan" in call("inspect", f"{bucket.url}/t", code=3)[1]
    _, err = call("apply", plan, "--commit", code=4)
    assert "4 of 12 shards are done" in err
    assert "`shardctl apply PLAN --part I/N`" in err
    running = [start("apply", plan, "--part", f"{number}/3") for number in (1, 2, 1)]
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert not [name for name in bucket.objects("t/") if not name.startswith(".shardctl/")]
    assert len(bucket.uploads()) == 12
    out, _ = call("apply", plan, "--commit")
    assert out == f"{bucket.url}/t/{INDEX}\n"
    asked = ("split", model, "--num-shards", "12", "--checksums")
    assert bucket.objects("t/") == local(call, tmp_path / "local", *asked)
    assert bucket.uploads() == []
    for again in (("--part", "1/3"), ("--commit",), ()):
        assert "up to date" in call("apply", plan, *again)[1]


def test_parts_may_be_killed_in_a_bucket(
    bucket: Bucket, model: Path, tmp_path: Path, call: Call, plan: Path
) -> None:
    """Killed parts and a killed commit are run again, and nothing of them is left."""
    chance = random.Random(5)
    begun = time.monotonic()
    start("apply", plan, "--part", "1/2").communicate()
    took = time.monotonic() - begun
    for number in (2, 2, 1):
        process = start("apply", plan, "--part", f"{number}/2")
        time.sleep(took * chance.uniform(0.5, 1.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    call("apply", plan, "--part", "1/2")
    call("apply", plan, "--part", "2/2")
    process = start("apply", plan, "--commit")
    time.sleep(took * chance.uniform(0.5, 1.0))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    call("apply", plan, "--commit")
    asked = ("split", model, "--num-shards", "12", "--checksums")
    assert bucket.objects("t/") == local(call, tmp_path / "local", *asked)
    assert bucket.uploads() == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_part_that_is_stopped_aborts_what_is_not_whole(
    bucket: Bucket, call: Call, plan: Path, signum: int
) -> None:
    """Uploads that have a receipt are left, and the one that was being noted; what is begun later
    goes on with them.
    """
    process = start("apply", plan, "--part", "1/1", "-j4")
    wait_for(bucket, "t/.shardctl/receipts/", 2)
    process.send_signal(signum)
    _, err = process.communicate()
    noted = {f"t/{name}" for name in bucket.objects("t/.shardctl/receipts/")}
    left = bucket.uploads()
    assert noted <= set(left)
    assert len(left) <= len(noted) + 1
    if process.returncode != 0:  # it was not done by then
        assert process.returncode == 128 + signum, err
        assert "finished files are kept" in err
    call("apply", plan)
    assert bucket.uploads() == []
