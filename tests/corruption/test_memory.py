"""Peak memory of reading a torch file: no input takes more than a bounded multiple of its size."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
from collections.abc import Callable

import pytest

from shardctl.formats import limits
from shardctl.formats.detection import read_file
from shardctl.formats.torch.tree import tree
from shardctl.testing.builders import BytesReader
from tests.corruption.hostile_pickles import TENSOR, text
from tests.corruption.torch_cases import archive
from tests.support.legacy_files import legacy
from tests.support.zip_files import Entry, pack

_BYTES = 200_000
#: Bytes of memory that any file may take, and for each byte that is read.
_CONSTANT, _FACTOR = 1_000_000, 40


def _listed(one: bytes) -> bytes:
    return b"\x80\x02}" + text("x") + b"](" + one * (_BYTES // len(one)) + b"es."


def _numbers(count: int, form: Callable[[int], bytes]) -> bytes:
    return b"".join(map(form, range(count)))


def _zip_of_empty_records() -> bytes:
    names = (f"archive/data/{number}" for number in range(1_000))
    sound = [
        Entry("archive/data.pkl", b"\x80\x02}."),
        Entry("archive/version", b"3\n"),
    ]
    return pack(list(itertools.chain(sound, (Entry(name, b"") for name in names))))


_FILES: dict[str, Callable[[], bytes]] = {
    "dicts": lambda: archive(_listed(b"}")),
    "lists": lambda: archive(_listed(b"]")),
    "tuples": lambda: archive(_listed(b"N\x85")),
    "names": lambda: archive(_listed(b"ca\nb\n")),
    "objects": lambda: archive(_listed(b"ca\nb\n)R")),
    "texts": lambda: archive(_listed(b"\x8c\x02ab")),
    "numbers as keys": lambda: archive(
        b"\x80\x02}(" + _numbers(_BYTES // 6, lambda n: b"J" + struct.pack("<i", n) + b"N") + b"u."
    ),
    "far memo": lambda: archive(
        b"\x80\x02}" + _numbers(_BYTES // 5, lambda n: b"r" + struct.pack("<I", 2 * n + 5)) + b"."
    ),
    "memo": lambda: archive(b"\x80\x04}" + b"\x94" * _BYTES + b"."),
    "marks": lambda: archive(b"\x80\x02" + b"(" * _BYTES + b"."),
    "a list of nothing beside a tensor": lambda: archive(
        b"\x80\x02}" + text("x") + b"](" + TENSOR + b"N" * _BYTES + b"es."
    ),
    "entries": lambda: archive(
        b"\x80\x02}(" + _numbers(_BYTES // 11, lambda n: text(f"{n:05}") + b"N") + b"u."
    ),
    "a broken pickle": lambda: archive(b"\x80\x04" + b"N\x94" * (_BYTES // 2) + b"\xff"),
    "empty records": _zip_of_empty_records,
    "legacy: dicts": lambda: legacy(storages={}, tensors={}, root=_listed(b"}")),
    "legacy: tuples": lambda: legacy(storages={}, tensors={}, root=_listed(b"N\x85")),
    "legacy: marks": lambda: legacy(storages={}, tensors={}, root=b"\x80\x02" + b"(" * _BYTES),
    "legacy: a list of keys": lambda: legacy(
        storages={}, tensors={}, keys=[str(number) for number in range(_BYTES // 10)]
    ),
    "legacy: a broken pickle": lambda: legacy(
        storages={}, tensors={}, root=b"\x80\x04" + b"N\x94" * (_BYTES // 2) + b"\xff"
    ),
}


@pytest.mark.parametrize("name", _FILES)
def test_memory_follows_the_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a file holds, reading it stays within a factor of its size, beyond what small files
    may take.
    """
    # A small file is used in place of a large one, which would take minutes to measure.
    monkeypatch.setattr(limits, "MIN_WEIGHT", 1_000)
    monkeypatch.setattr(tree, "MIN_ENTRIES", 1_000)
    data = _FILES[name]()
    reader = BytesReader("model", data)
    tracemalloc.start()
    try:
        read_file(reader, lambda _: None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < _CONSTANT + _FACTOR * len(data)
