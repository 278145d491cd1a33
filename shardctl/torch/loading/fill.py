"""Read tensors of a checkpoint into the memory of tensors of torch.

Where dtype, device and strides agree, a range of a file is read straight into its place. Everything
else passes through a buffer of a few MiB for each thread: other types, other devices, strides on
either side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import torch

from shardctl.engine.sources import Sources
from shardctl.model import Extent, Tensor
from shardctl.stores.optional import read_into
from shardctl.streams.chunks import PART_BYTES
from shardctl.streams.elements import elements_of
from shardctl.streams.pool import batches, in_order
from shardctl.torch.dtypes import torch_dtype
from shardctl.torch.saving.memory import writable_memory

#: Bytes that a thread converts at a time.
_BUFFER_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fill:
    """A tensor of a checkpoint, and the tensor of the same shape that gets its elements."""

    name: str
    source: Tensor
    target: torch.Tensor

    @property
    def is_run(self) -> bool:
        """Whether the elements are one run of a file."""
        return self.source.strides is None and self.source.storage.made is None

    @property
    def is_direct(self) -> bool:
        """Whether the bytes of the file are those in memory."""
        target = self.target
        return (
            self.is_run
            and target.device.type == "cpu"
            and target.dtype == torch_dtype(self.source)
            and target.is_contiguous()
            and not target.is_conj()
            and not target.is_neg()
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes of a fill that one thread handles; `begin` counts from the tensor's first byte."""

    number: int
    begin: int
    extent: Extent


@dataclass(slots=True)
class Progress:
    """Which of the fills are begun and finished, by number, for several threads."""

    waiting: list[int] = field(default_factory=list)
    begun: set[int] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def begin(self, number: int) -> None:
        """Note that a tensor is about to change."""
        with self._lock:
            self.begun.add(number)

    def end(self, number: int) -> None:
        """Note that one more part of a tensor is read."""
        with self._lock:
            self.waiting[number] -= 1

    @property
    def finished(self) -> list[int]:
        """The fills that are read whole."""
        return [number for number in sorted(self.begun) if not self.waiting[number]]

    @property
    def partial(self) -> list[int]:
        """The fills of which only a part may be read."""
        return [number for number in sorted(self.begun) if self.waiting[number]]


def fill(sources: Sources, fills: Sequence[Fill], jobs: int, progress: Progress) -> None:
    """Read all of them, in the order of the files, in up to `jobs` threads.

    Raises SourceChangedError and StorageError; `progress` then says what was read, and no thread
    is at work any more.
    """
    parts = sorted(
        (part for number, each in enumerate(fills) for part in _parts(number, each)),
        key=lambda part: (part.extent.path, part.extent.offset),
    )
    progress.waiting = [0] * len(fills)
    for part in parts:
        progress.waiting[part.number] += 1

    def read(batch: Sequence[_Part]) -> None:
        for part in batch:
            progress.begin(part.number)
            _read(sources, fills[part.number], part)
            progress.end(part.number)

    for _ in in_order(jobs, read, batches(parts, lambda part: part.extent.length)):
        pass
    sources.check_unchanged()


def _parts(number: int, fill: Fill) -> Iterator[_Part]:
    """Cut what is contiguous in its file; what is not is one part. An empty tensor has none."""
    span = fill.source.span
    if not fill.is_run and fill.source.elements:
        yield _Part(number, 0, span)
        return
    for begin in range(0, span.length, PART_BYTES):
        yield _Part(number, begin, span.part(begin, min(PART_BYTES, span.length - begin)))


def _read(sources: Sources, fill: Fill, part: _Part) -> None:
    extent = part.extent
    if fill.is_direct:
        memory = writable_memory(fill.target)
        with sources.reader(extent.path) as reader:
            read_into(reader, extent.offset, memory[part.begin : part.begin + extent.length])
        _count_change(fill.target)
        return
    dtype = torch_dtype(fill.source)
    done = part.begin // dtype.itemsize
    for data in _chunks(sources, fill, extent):
        flat = torch.frombuffer(data, dtype=dtype)
        put_flat(fill.target.detach(), done, flat)
        done += len(flat)


def _chunks(sources: Sources, fill: Fill, extent: Extent) -> Iterator[memoryview]:
    """Yield the bytes of a part, in memory that may be written to; one buffer serves for a run."""
    if not fill.is_run:
        for chunk in elements_of(sources.reader, fill.source):
            yield memoryview(bytearray(chunk) if isinstance(chunk, bytes) else chunk)
        return
    buffer = memoryview(bytearray(min(_BUFFER_BYTES, extent.length)))
    with sources.reader(extent.path) as reader:
        for begin in range(0, extent.length, _BUFFER_BYTES):
            data = buffer[: min(_BUFFER_BYTES, extent.length - begin)]
            read_into(reader, extent.offset + begin, data)
            yield data


def _count_change(target: torch.Tensor) -> None:
    """Let autograd see that elements changed: a graph that needs the old ones is then refused."""
    if not target.is_inference():
        torch.autograd.graph.increment_version(target)


def put_flat(target: torch.Tensor, start: int, flat: torch.Tensor) -> None:
    """Copy elements into a tensor, from its element `start` on in row-major order.

    torch converts them to the target's type and moves them to its device.
    """
    if target.dim() == 0:
        target.copy_(flat[0])
    elif target.is_contiguous():
        target.view(-1)[start : start + len(flat)].copy_(flat)
    elif target.dim() == 1:
        target[start : start + len(flat)].copy_(flat)
    else:
        _put_rows(target, start, flat)


def _put_rows(target: torch.Tensor, start: int, flat: torch.Tensor) -> None:
    """Copy into a tensor of several dimensions: the end of a row, whole rows, the next's begin."""
    row = target[0].numel()
    first, within = divmod(start, row)
    done = 0
    if within:
        done = min(row - within, len(flat))
        put_flat(target[first], within, flat[:done])
        first += 1
    whole = (len(flat) - done) // row
    if whole:
        rows = flat[done : done + whole * row].view(whole, *target.shape[1:])
        target[first : first + whole].copy_(rows)
        done += whole * row
    if done < len(flat):
        put_flat(target[first + whole], 0, flat[done:])
