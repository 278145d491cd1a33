"""Measure what docs/scaling.md has of measurements, and keep it in scaling.json.

python -m benchmarks.scaling_measure plan       the plan of the model, from the real planner
python -m benchmarks.scaling_measure headers    planning of sparse files, by the command line
python -m benchmarks.scaling_measure runs       runs of the engine in a simulated place
python -m benchmarks.scaling_measure dask       what a cluster takes for each file
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from benchmarks.measure import run
from benchmarks.scaling import KEPT, PLACES, WORKERS, Place, load, planned, seconds, shares
from benchmarks.scenarios import Headers
from shardctl.commands.preparing.defaults import measure_of
from shardctl.engine.commit.guards import Surroundings
from shardctl.engine.journal.journal import RunIdentity
from shardctl.engine.run import Job, RunOptions, execute
from shardctl.engine.task import ShardTask
from shardctl.engine.workers.executors import Threads
from shardctl.formats.registry import by_name, writer_of
from shardctl.layout import Copy, LayoutBuilder
from shardctl.model import DTYPES, Checkpoint, Extent, File, Storage, Tensor, Version
from shardctl.planning.plan import Plan, make_plan
from shardctl.planning.request import Limits, Request
from shardctl.stores.base import Copied, Reader
from shardctl.streams.progress import Silent
from shardctl.testing.memory import MemoryStore, MemoryWriter

_FORMAT = "safetensors"
#: A mixture of experts in bfloat16: 998,400 matrices of experts of 100.7 MB, and the rest.
LAYERS, EXPERTS, HIDDEN, INNER, VOCABULARY = 128, 2_600, 8_192, 6_144, 129_280
SOURCE_BYTES, TARGET_BYTES = 5 * 10**9, 10 * 10**9
#: As many tensors and bytes as sparse files: 10,000 files of 100 tensors of 100 MB.
SPARSE = Headers("100tb", 10_000, 100, 50_000_000)
#: Bytes of a file for each byte of the real one in a simulated run; the files of each worker, which
#: are chosen evenly by size; and for how many seconds it is to move each of them.
_SCALE, _FILES_EACH, _FILE_SECONDS = 1e-7, 40, 3.0
#: Steps in which the bytes of a file are moved.
_STEPS = 5


def shapes(layers: int, experts: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the names and shapes of the model, in its order."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for number in range(layers):
        layer = f"model.layers.{number}"
        yield f"{layer}.input_layernorm.weight", (HIDDEN,)
        for name in ("q_proj", "o_proj"):
            yield f"{layer}.self_attn.{name}.weight", (HIDDEN, HIDDEN)
        for name in ("k_proj", "v_proj"):
            yield f"{layer}.self_attn.{name}.weight", (HIDDEN // 8, HIDDEN)
        yield f"{layer}.post_attention_layernorm.weight", (HIDDEN,)
        yield f"{layer}.mlp.gate.weight", (experts, HIDDEN)
        for expert in range(experts):
            for name in ("gate_proj", "up_proj"):
                yield f"{layer}.mlp.experts.{expert}.{name}.weight", (INNER, HIDDEN)
            yield f"{layer}.mlp.experts.{expert}.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def model(layers: int = LAYERS, experts: int = EXPERTS) -> Checkpoint:
    """Return the checkpoint in files of at most 5 GB, each sorted by name, as upstream writes."""
    files: list[list[tuple[str, tuple[int, ...], int]]] = [[]]
    filled = 0
    for name, shape in shapes(layers, experts):
        nbytes = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        if filled + nbytes > SOURCE_BYTES and files[-1]:
            files.append([])
            filled = 0
        files[-1].append((name, shape, nbytes))
        filled += nbytes
    bf16, found, all_tensors = DTYPES["BF16"], [], []
    for number, members in enumerate(files):
        path, offset, tree = str(number), 0, {}
        for name, shape, nbytes in sorted(members):
            tree[name] = Tensor(name, bf16, shape, Storage(Extent(path, offset, nbytes), name))
            offset += nbytes
        found.append(File(path, _FORMAT, Version(offset, ""), tree))
        all_tensors.extend(tree.values())
    return Checkpoint(_FORMAT, tuple(found), tuple(all_tensors))


def plan_of(checkpoint: Checkpoint) -> Plan:
    """Return the plan of files of at most 10 GB."""
    limits = Limits(max_shard_bytes=TARGET_BYTES)
    request = Request(limits, _FORMAT, by_name(_FORMAT).suffix, "model")
    return make_plan(checkpoint, request, measure_of(request))


def summary(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what is kept of a plan: for files that are alike their bytes, ranges and number."""
    plan = plan_of(checkpoint)
    writer = writer_of(plan.request.format)
    kinds: Counter[tuple[int, int]] = Counter()
    for shard in plan.shards:
        layout = writer.lay_out(shard.tensors, shard.metadata, plan.request.block)
        kinds[shard.size, sum(isinstance(piece, Copy) for piece in layout.pieces)] += 1
    return {
        "tensors": len(checkpoint.tensors),
        "sources": len(checkpoint.files),
        "kinds": [[*kind, count] for kind, count in sorted(kinds.items())],
    }


class SlowPlace:
    """A place in real time: what is moved waits until a share of the bandwidth has moved it.

    `speed` is how many times faster than the place it is.
    """

    def __init__(self, place: Place, speed: float) -> None:
        self._place = place
        self._speed = speed
        self._lock = threading.Lock()
        self._going = 0

    @contextmanager
    def _moving(self) -> Iterator[None]:
        with self._lock:
            self._going += 1
        try:
            yield
        finally:
            with self._lock:
                self._going -= 1

    def move(self, nbytes: float) -> None:
        """Wait as long as a file of so many bytes takes, in steps, each at the rate of its time."""
        place, begun, due = self._place, time.monotonic(), 0.0
        with self._moving():
            for _ in range(_STEPS):
                rate = min(place.each, place.together / self._going)
                due += nbytes / _STEPS / rate / self._speed
                time.sleep(max(0.0, begun + due - time.monotonic()))
        time.sleep(place.per_file / self._speed)


@dataclass
class _SlowWriter:
    """A writer that takes its time to copy; what is small is written, and not copied."""

    inner: MemoryWriter
    place: SlowPlace

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.place.move(len(data) / _SCALE)
        self.inner.write(offset, data)

    def copy(self, offset: int, source: Reader, extent: Extent) -> Copied:
        self.place.move(extent.length / _SCALE)
        return self.inner.copy(offset, source, extent)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __enter__(self) -> Self:
        self.inner.__enter__()
        return self

    def __exit__(self, *given: object) -> None:
        self.inner.__exit__(*given)


class _SlowStore(MemoryStore):
    """A store in memory whose staged files take their time."""

    place: SlowPlace | None = None

    def create(self, path: str, nbytes: int) -> Any:
        made = super().create(path, nbytes)
        return made if self.place is None else _SlowWriter(made, self.place)


def simulated(sizes: list[int], workers: int, place: Place, speed: float) -> float:
    """Run the engine on files of these sizes; return the seconds that it would have taken."""
    store = _SlowStore()
    small = [max(1, round(size * _SCALE)) for size in sizes]
    with store.create("s", max(small)) as writer:
        writer.write(0, bytes(max(small)))
    names = [f"f{number:05d}" for number in range(len(small))]
    sources = {"s": store.version("s")}
    tasks = []
    for name, size in zip(names, small, strict=True):
        builder = LayoutBuilder()
        builder.copy(Extent("s", 0, size))
        tasks.append(ShardTask(name, f"t/.shardctl/files/{name}", builder.build(), sources))
    around = Surroundings.of(store, "t", names, weights=True)
    job = Job(RunIdentity("id", {}, sources), "t", tuple(tasks), sources, around)
    store.place = SlowPlace(place, speed)
    begun = time.monotonic()
    execute(job, store, store, RunOptions(workers), Threads, _Ends(store))
    return (time.monotonic() - begun) * speed


class _Ends(Silent):
    """Lets the index and the journal be written at once."""

    def __init__(self, store: _SlowStore) -> None:
        self._store = store

    def committing(self) -> None:
        self._store.place = None


def facts() -> str:
    """Return when and on what it was measured, and how busy that was."""
    today = dt.datetime.now(dt.UTC).date()
    load_average = os.getloadavg()[0]
    return (
        f"{today}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load {load_average:.1f} before it"
    )


def measure_plan() -> dict[str, Any]:
    """Plan the model."""
    return summary(model())


def measure_headers() -> dict[str, Any]:
    """Time the commands on sparse files."""
    said, verbs = facts(), {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCALING_DIR")) as directory:
        source = SPARSE.make(directory)
        for contender in SPARSE.contenders(source, SPARSE.works):
            before = _processor_seconds()
            sample = run(contender.command)
            name = contender.work.removeprefix("headers/").partition("-")[0]
            took = _processor_seconds() - before
            verbs[name] = {"seconds": sample.seconds, "processor": took, "peak": sample.peak}
            print(name, verbs[name], file=sys.stderr)
    return {"facts": said, "verbs": verbs}


def _processor_seconds() -> float:
    """Return what the processes that have ended took of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_runs() -> dict[str, Any]:
    """Run the engine in simulated places."""
    said, sizes, found = facts(), planned(load()).sizes(), {}
    for place, workers in itertools.product(PLACES[:1], WORKERS):
        some = sizes[:: max(1, len(sizes) // (_FILES_EACH * workers))]
        speed = seconds(shares(some, workers), place) / (_FILES_EACH * _FILE_SECONDS)
        took = simulated(some, workers, place, speed) * sum(sizes) / sum(some)
        found.setdefault(place.name, {})[str(workers)] = took
        print(place.name, workers, took, file=sys.stderr)
    return {"facts": said, "seconds": found}


def measure_dask() -> dict[str, Any]:
    """Take the processor time of runs of few and of many tiny files on a cluster of this machine.

    The scheduler is in this process, as the command is; the worker is in another.
    """
    from distributed import LocalCluster

    import shardctl
    from shardctl.testing.builders import safetensors_bytes

    said, took, counts = facts(), [], (100, 1_100)
    directory = tempfile.mkdtemp(dir="/dev/shm")
    try:
        with LocalCluster(
            n_workers=1, threads_per_worker=4, dashboard_address=None, host="127.0.0.1"
        ) as cluster:
            for count in counts:
                source = os.path.join(directory, f"source-{count}")
                os.mkdir(source)
                tensors = {f"layer.{number}": ("U8", [64], bytes(64)) for number in range(count)}
                with open(os.path.join(source, "model.safetensors"), "wb") as file:
                    file.write(safetensors_bytes(tensors))
                begun = time.process_time()
                shardctl.write(
                    source,
                    os.path.join(directory, f"target-{count}"),
                    num_shards=count,
                    scheduler=cluster.scheduler_address,
                    record=False,
                )
                took.append(time.process_time() - begun)
    finally:
        shutil.rmtree(directory)
    return {"facts": said, "seconds_per_file": (took[1] - took[0]) / (counts[1] - counts[0])}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "plan": measure_plan,
    "headers": measure_headers,
    "runs": measure_runs,
    "dask": measure_dask,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        found = PARTS[part]()
        # Only now: another part may have been measured meanwhile.
        kept = load() if KEPT.exists() else {}
        KEPT.write_text(json.dumps({**kept, part: found}, indent=1) + "\n")
