"""Tasks in other processes: the same bytes, all of the progress, and the errors as they were."""

from __future__ import annotations

import multiprocessing
import pickle
import time
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import pytest

from shardctl.commands.preparing.prepare import prepare
from shardctl.commands.write import build_job, write
from shardctl.engine.journal.receipts import Receipt
from shardctl.engine.run import RunOptions
from shardctl.engine.task import ShardTask
from shardctl.engine.workers.executors import Executor, Threads, Write, Written
from shardctl.errors import FormatError
from shardctl.layout import Check, Copy, Crc, Gather, Layout, Literal
from shardctl.model import Extent, Version
from shardctl.planning.request import Limits, WriteOptions
from shardctl.stores.base import Copied, Store
from shardctl.stores.local.store import LocalStore
from shardctl.streams.progress import CancelledError, Tick, Ticks
from tests.support.memory_checkpoints import weights
from tests.support.observers import Counting

STORE, TWO = LocalStore(), RunOptions(jobs=2)
BY_300 = WriteOptions(limits=Limits(max_shard_bytes=300), checksums=True, read_back=True)
TENSORS = {f"layer.{number}": bytes([number + 1]) * 200 for number in range(4)}


class Processes(ProcessPoolExecutor):
    """Workers that are processes; ticks go through a manager, which is a process too."""

    def __init__(self, jobs: int) -> None:
        # Not forked: a child of a process with threads may inherit locks that are held.
        context = multiprocessing.get_context("spawn")
        super().__init__(jobs, mp_context=context)
        self._manager = context.Manager()
        self.ticks = Ticks(self._manager.Queue(), self._manager.Event())

    def write(
        self, write: Write[Written], task: ShardTask, source: Store, target: Store
    ) -> Future[Written]:
        return self.submit(write, task, source, target, self.ticks.of(task.filename))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._manager.shutdown()


def files_in(directory: Path) -> dict[str, bytes]:
    """Every file of a directory by name, but for the hidden ones."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_a_split_in_processes(tmp_path: Path) -> None:
    """Processes write the same bytes as threads, and each byte of each file is counted once."""
    source = tmp_path / "model.safetensors"
    source.write_bytes(weights(TENSORS))
    executors: dict[str, Executor] = {"processes": Processes, "threads": Threads}
    for target, executor in executors.items():
        prepared = prepare(STORE, str(source), STORE, str(tmp_path / target), BY_300, finish=True)
        counted = Counting()
        write(STORE, STORE, prepared, TWO, counted, executor)
        assert counted.advanced == counted.sizes == counted.done
        assert len(counted.done) == 5
    assert files_in(tmp_path / "processes") == files_in(tmp_path / "threads")


def test_an_error_in_a_process(tmp_path: Path) -> None:
    """A damaged record is the same error that it is in a thread, with its file and offset."""
    data = bytearray(weights(TENSORS, "bin"))
    at = data.index(TENSORS["layer.2"])
    data[at + 7] ^= 1
    source = tmp_path / "pytorch_model.bin"
    source.write_bytes(data)
    prepared = prepare(STORE, str(source), STORE, str(tmp_path / "target"), BY_300, finish=True)
    with pytest.raises(FormatError, match="CRC-32") as caught:
        write(STORE, STORE, prepared, TWO, Counting(), executor=Processes)
    assert (caught.value.code, caught.value.file, caught.value.offset) == (
        "zip-crc-mismatch",
        str(source),
        at,
    )
    assert "damaged" in caught.value.hint
    assert [path.name for path in (tmp_path / "target").iterdir()] == [".shardctl"]


def tick_for_ever(tick: Tick) -> None:
    """Work that ends only when its tick does."""
    while True:
        tick(1)
        time.sleep(0.01)


def test_a_process_is_cancelled() -> None:
    """A tick in another process raises CancelledError once the run is cancelled."""
    workers = Processes(1)
    try:
        future = workers.submit(tick_for_ever, workers.ticks.of("f"))
        counted: Counter[str] = Counter()
        while not counted["f"]:
            workers.ticks.drain(lambda filename, nbytes: counted.update({filename: nbytes}))
        workers.ticks.cancel()
        with pytest.raises(CancelledError):
            future.result(timeout=60)
    finally:
        workers.shutdown()


def test_all_that_travels_can_be_pickled(tmp_path: Path) -> None:
    """Tasks, layouts, receipts, versions and the local store survive pickling."""
    source = tmp_path / "pytorch_model.bin"
    source.write_bytes(weights(TENSORS, "bin"))
    prepared = prepare(STORE, str(source), STORE, str(tmp_path / "target"), BY_300, finish=True)
    extent = Extent("f", 1, 2)
    pieces = (
        Literal(b"x"),
        Copy(extent, 7),
        Crc(1),
        Gather(extent, 1, (1, 2), (2, 1)),
        Check(extent, 7, "w"),
    )
    values = (
        *build_job(STORE, prepared).tasks,
        Layout(pieces, 9),
        Receipt("f", 1, None, Copied(1, 2, 3)),
        Version(1, "mark"),
    )
    for value in values:
        assert pickle.loads(pickle.dumps(value)) == value
    assert pickle.loads(pickle.dumps(STORE)).version(str(source)) == STORE.version(str(source))
