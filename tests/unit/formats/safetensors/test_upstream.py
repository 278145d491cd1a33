"""What safetensors' own loader reads of a file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from shardctl.formats.base import Upstream
from shardctl.formats.safetensors.upstream import open_with_safetensors
from shardctl.model import DTYPES, Extent, File, Storage, Tensor, Version
from shardctl.testing.builders import TensorData, safetensors_bytes


def opened(directory: Path, tensors: dict[str, TensorData], key: str | None = None) -> Upstream:
    """A file of these tensors, as it is opened."""
    path = directory / "m.safetensors"
    path.write_bytes(safetensors_bytes(tensors))
    return open_with_safetensors(File(str(path), "safetensors", Version(1, ""), {}), key)


def tensor(name: str, dtype: str, *shape: int, nbytes: int = 0) -> Tensor:
    """A tensor of ours."""
    return Tensor(name, DTYPES[dtype], shape, Storage(Extent("m", 0, nbytes), name))


def test_each_tensor_is_loaded_by_its_name(tmp_path: Path) -> None:
    """Shapes and bytes are the file's, whatever characters the names have."""
    floats = struct.pack("<4f", *range(4))
    names = ("w", "a.b", "", "漢\n")
    found = opened(tmp_path, {name: ("F32", [2, 2], floats) for name in names})
    assert set(found.names) == set(names)
    for name in names:
        loaded = found.load(tensor(name, "F32", 2, 2, nbytes=16))
        assert (loaded.shape, bytes(loaded.data)) == ((2, 2), floats)


def test_a_file_without_tensors_has_no_names(tmp_path: Path) -> None:
    """It is opened all the same."""
    assert set(opened(tmp_path, {}).names) == set()


def test_empty_and_scalar_tensors(tmp_path: Path) -> None:
    """One has no bytes, the other no dimensions."""
    found = opened(tmp_path, {"e": ("I64", [0, 3], b""), "s": ("BF16", [], b"\x80\x3f")})
    assert found.load(tensor("e", "I64", 0, 3)).shape == (0, 3)
    scalar = found.load(tensor("s", "BF16", nbytes=2))
    assert (scalar.shape, bytes(scalar.data)) == ((), b"\x80\x3f")


def test_packed_elements_are_counted_one_by_one(tmp_path: Path) -> None:
    """The loader gives pairs of four-bit floats."""
    loaded = opened(tmp_path, {"w": ("F4", [2, 4], b"abcd")}).load(tensor("w", "F4", 2, 4))
    assert (loaded.shape, bytes(loaded.data)) == ((2, 4), b"abcd")


def test_a_name_that_the_file_lacks_is_a_key_error(tmp_path: Path) -> None:
    """The loader's own error would be another."""
    with pytest.raises(KeyError):
        opened(tmp_path, {"w": b"1"}).load(tensor("v", "U8", 1))
