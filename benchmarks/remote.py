"""The works on a checkpoint of another machine: a bucket, and a repository of the hub.

The server is a process on this machine, which counts (`benchmarks.server`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread

from benchmarks.contenders import Contender, quiet, shardctl
from benchmarks.measure import Scene
from benchmarks.server import CREDENTIALS, REPOSITORY, SOURCES, TARGETS
from benchmarks.sources import SHARDS, Sources
from benchmarks.stages import Request

#: A simulator is slow with more: it reads the whole object for each range.
MOST_BYTES = 250 * 10**6
#: Packages without which nothing is measured.
NEEDED = ("moto", "boto3", "obstore")
#: Seconds between two looks at the disk.
_PAUSE = 0.02

#: What is done today. Arguments: a directory to work in, a shard's limit in bytes.
_BOTO3 = f"""
import glob, os, sys
import boto3
work, limit = sys.argv[1], int(sys.argv[2])
bucket = boto3.resource("s3").Bucket("{SOURCES}")
loaded = os.path.join(work, "loaded")
os.makedirs(loaded)
for each in bucket.objects.filter(Prefix="model/"):
    bucket.download_file(each.key, os.path.join(loaded, os.path.basename(each.key)))
"""
_HF = f"""
import glob, os, sys
from huggingface_hub import snapshot_download
work, limit = sys.argv[1], int(sys.argv[2])
loaded = snapshot_download("{REPOSITORY}", local_dir=os.path.join(work, "loaded"))
"""
_LIST = """
from safetensors import safe_open
for path in glob.glob(os.path.join(loaded, "*.safetensors")):
    with safe_open(path, "pt") as file:
        for name in file.keys():
            print(name, file.get_slice(name).get_shape(), file.get_slice(name).get_dtype())
"""
_SPLIT = """
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file
state = {}
for path in glob.glob(os.path.join(loaded, "*.safetensors")):
    state.update(load_file(path))
written = os.path.join(work, "written")
os.makedirs(written)
save_torch_state_dict(state, written, max_shard_size=limit)
"""
_UPLOAD = f"""
for name in os.listdir(written):
    boto3.client("s3").upload_file(os.path.join(written, name), "{TARGETS}", "out/" + name)
"""

_BUCKET, _REPOSITORY = f"s3://{SOURCES}/model", f"hf://{REPOSITORY}"
_RESULT = f"s3://{TARGETS}/out"
#: By work: its source, where its result is, `{{target}}` for a directory of this machine, and none
#: of a work that only reads; the peer that does the same, and how.
WORKS: Mapping[str, tuple[str, str, str, str]] = {
    "inspect-s3": (_BUCKET, "", "boto3", _BOTO3 + _LIST),
    "inspect-hub": (_REPOSITORY, "", "huggingface_hub", _HF + _LIST),
    "split-s3-to-disk": (_BUCKET, "{target}/written", "boto3", _BOTO3 + _SPLIT),
    "split-hub-to-disk": (_REPOSITORY, "{target}/written", "huggingface_hub", _HF + _SPLIT),
    "split-s3-to-s3": (_BUCKET, _RESULT, "boto3", _BOTO3 + _SPLIT + _UPLOAD),
}


class Counted:
    """The server in its own process, and the room that its clients take in a directory."""

    def __init__(self, source: str, directory: str, environment: Mapping[str, str]) -> None:
        command = (sys.executable, "-m", "benchmarks.server", source)
        self._directory = directory
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )
        self._stop = Event()
        self._watch: Thread | None = None
        self._before = self._most = 0
        self.url = self._line()
        if not self.url:
            self.close()
            raise OSError("the server of the benchmarks did not start: python -m benchmarks.server")

    def begin(self) -> None:
        """Count from here on, with nothing written yet."""
        self._ask("begin")
        self._before = self._most = held_bytes(self._directory)
        self._stop.clear()
        self._watch = Thread(target=self._look, daemon=True)
        self._watch.start()

    def end(self) -> dict[str, int]:
        """Return what was counted, as fields of a sample."""
        self._stop.set()
        if self._watch is not None:
            self._watch.join()
        return {**self._ask("end"), "disk": self._most - self._before}

    def close(self) -> None:
        """End the server."""
        for stream in filter(None, (self._child.stdin, self._child.stdout)):
            stream.close()
        self._child.wait()

    def _look(self) -> None:
        while not self._stop.is_set():
            self._most = max(self._most, held_bytes(self._directory))
            self._stop.wait(_PAUSE)

    def _ask(self, word: str) -> dict[str, int]:
        if self._child.stdin is not None:
            self._child.stdin.write(f"{word}\n")
            self._child.stdin.flush()
        answer: dict[str, int] = json.loads(self._line())
        return answer

    def _line(self) -> str:
        return self._child.stdout.readline().strip() if self._child.stdout else ""


def held_bytes(directory: str) -> int:
    """Return the bytes on the disk of all files below a directory."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def scenes(request: Request) -> Iterator[Scene]:
    """Yield a scene for each of the chosen works, on one server."""
    sources = Sources(os.path.join(request.directory, "sources"), min(request.size, MOST_BYTES))
    source, homes = sources.path("safetensors"), os.path.join(request.directory, "homes")
    os.mkdir(homes)
    # What a client keeps by itself is below the directory that is watched.
    environment = {**CREDENTIALS, "TMPDIR": homes, "HF_HOME": homes, "XDG_STATE_HOME": homes}
    server = Counted(source, request.directory, environment)
    environment |= {"AWS_ENDPOINT_URL": server.url, "HF_ENDPOINT": f"{server.url}/hub"}
    try:
        with _set(environment):
            for name in WORKS:
                if f"remote/{name}" in request.works:
                    yield _scene(request, sources, name, source, server)
    finally:
        server.close()


@contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    """Give the children of this process these variables."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _scene(request: Request, sources: Sources, name: str, source: str, server: Counted) -> Scene:
    """Return the scene of a work."""
    work, limit = f"remote/{name}", str(sources.limit(SHARDS))
    url, result, peer, script = WORKS[name]
    ours = (
        quiet("split", url, result, "--max-shard-size", limit, "--no-record")
        if result
        else shardctl("inspect", url)
    )
    theirs = (sys.executable, "-c", script, "{target}", limit)
    contenders = [Contender(work, "shardctl", ours, syncs=True, result=result, meter=server)]
    if peer in request.peers:
        contenders.append(Contender(work, peer, theirs, result=result, meter=server))
    proof = () if result else None
    return Scene(tuple(contenders), None, source, sources.nbytes, sources.tensors, proof)
