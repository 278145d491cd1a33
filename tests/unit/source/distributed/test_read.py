"""Which reader a distributed checkpoint gets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from shardctl.findings import strict
from shardctl.source.distributed import read as divided
from shardctl.source.distributed.read import read_divided
from shardctl.source.locate import Located
from shardctl.testing.memory import MemoryStore


@pytest.mark.parametrize(
    ("kind", "reader"),
    [
        ("metadata", "read_dcp"),
        ("ranks", "read_ranks"),
        ("vectors", "read_zero"),
        ("slices", "read_slices"),
    ],
)
def test_each_kind_has_its_reader(kind: str, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is read by its metadata, and the others by their files."""
    asked: list[tuple[str, object]] = []

    def reading(name: str) -> Any:
        def read(_: object, what: object, *__: object) -> list[object]:
            asked.append((name, what))
            return []

        return read

    for name in ("read_dcp", "read_ranks", "read_zero", "read_slices"):
        monkeypatch.setattr(divided, name, reading(name))
    located = cast("Located", SimpleNamespace(distributed=kind, directory="d", files=("f",)))
    assert read_divided(MemoryStore(), located, strict, cast("Any", None)) == []
    assert asked == [(reader, "d" if kind == "metadata" else ("f",))]
