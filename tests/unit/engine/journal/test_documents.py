"""Documents of a journal: what a run wrote, and what anybody may have put there."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest

from shardctl.engine.journal.documents import document_of

_BYTES = 2_000_000
#: Bytes of memory that any document may take, and for each of its bytes.
_CONSTANT, _FACTOR = 1_000_000, 20

_HOSTILE: dict[str, Callable[[int], str]] = {
    "lists": lambda count: '{"x":[' + "[]," * (count // 3) + "[]]}",
    "objects": lambda count: '{"x":[' + "{}," * (count // 3) + "{}]}",
    "members": lambda count: "{" + ",".join(f'"{n}":0' for n in range(count // 9)) + "}",
    "long members": lambda count: "{" + ",".join(f'"{n:09}":0' for n in range(count // 14)) + "}",
    "numbers": lambda count: '{"x":[' + "1," * (count // 2) + "1]}",
    "fractions": lambda count: '{"x":[' + "1e9," * (count // 4) + "1]}",
    "nested": lambda count: "[" * count,
    "a text": lambda count: '{"x":"' + "é" * (count // 2) + '"}',
    "brackets in a text": lambda count: '{"x":"' + "[],:" * (count // 4) + '"}',
}


@pytest.mark.parametrize("make", _HOSTILE.values(), ids=_HOSTILE)
def test_no_document_takes_many_times_its_size(make: Callable[[int], str]) -> None:
    """Whatever a document holds, it is read in proportion to its size, or refused before that."""
    data = make(_BYTES).encode()
    tracemalloc.start()
    try:
        document_of(data)
    except ValueError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < _CONSTANT + _FACTOR * len(data)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"\xff", b'{"a":NaN}', b"[" * 100_000, b'{"a":' * 100_000]
)
def test_what_is_not_an_object_is_refused(data: bytes) -> None:
    """Only a JSON object is a document."""
    with pytest.raises(ValueError, match=r"^(is|begins) "):
        document_of(data)


def test_what_a_large_run_writes_is_read() -> None:
    """A journal of many files with short names is not taken for a hostile one."""
    now = 1_764_280_000_000_000_000
    seen = {"device": 1, "inode": 2, "size": 3, "mtime_ns": now, "ctime_ns": now}
    document = {"new": [{"name": f"{n}", "seen": seen} for n in range(20_000)]}
    assert document_of(json.dumps(document, separators=(",", ":")).encode()) == document
