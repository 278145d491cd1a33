"""The memory of tensors as a store."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.errors import MissingError, StorageError

torch = pytest.importorskip("torch")


def test_storages_are_ranges_of_one_file() -> None:
    """A storage that is added twice is one range, and ranges do not adjoin."""
    from shardctl.torch.saving.memory import MemoryOfModel, Storages

    storages = Storages()
    one, other = torch.arange(16, dtype=torch.uint8), torch.arange(64, dtype=torch.uint8)
    first = storages.add(one.untyped_storage())
    second = storages.add(other.untyped_storage())
    assert storages.add(one[3:].untyped_storage()) == first
    assert second[1].offset > first[1].end
    with MemoryOfModel(storages, {}).open(first[1].path) as reader:
        assert reader.read(second[1].offset + 60, 4) == bytes((60, 61, 62, 63))
        assert reader.version == reader.current()
        with pytest.raises(StorageError, match="freed"):
            reader.read(first[1].offset, 17)


def test_bytes_are_not_copied() -> None:
    """A view of a CPU storage shows what the tensor holds now."""
    from shardctl.torch.saving.memory import Storages

    storages, tensor = Storages(), torch.zeros(8, dtype=torch.uint8)
    _, extent = storages.add(tensor.untyped_storage())
    view = storages.view(extent.offset, 8)
    tensor += 5
    assert bytes(view) == bytes([5] * 8)
    assert view.readonly


def test_another_device_passes_through_a_buffer() -> None:
    """Of a storage that the CPU cannot read, just the bytes that are asked for are copied."""
    from shardctl.torch.saving.memory import from_device

    tensor: Any = torch.arange(100, dtype=torch.int16)
    assert bytes(from_device(tensor.untyped_storage(), 10, 6)) == b"\5\0\6\0\7\0"
    assert bytes(from_device(tensor.untyped_storage(), 10, 0)) == b""


def test_companions_are_the_files_of_its_directory() -> None:
    """They are listed and read; the storages are found only by name, and nothing can be written."""
    from shardctl.torch.saving.memory import WEIGHTS, MemoryOfModel, Storages

    store = MemoryOfModel(Storages(), {"config.json": b"{}"})
    assert [entry.name for entry in store.list("")] == ["config.json"]
    with store.open("config.json") as reader:
        assert reader.read(0, reader.version.size) == b"{}"
    assert [store.kind(path) for path in ("", WEIGHTS, "config.json", "x")] == [
        "directory",
        "file",
        "file",
        None,
    ]
    with pytest.raises(MissingError):
        store.open("x")
    for change in (
        lambda: store.create("x", 1),
        lambda: store.make_directory("x"),
        lambda: store.rename("config.json", "x"),
        lambda: store.remove("config.json"),
    ):
        with pytest.raises(StorageError, match="only read"):
            change()
