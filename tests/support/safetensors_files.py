"""Safetensors files made without a tensor library, and headers that are wrong on purpose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from shardctl.testing.builders import TensorData, safetensors_bytes

#: Bytes of an element of `write_floats`.
ITEM_BYTES = 4
#: Bytes of each of the tensors of `plain_directory`.
TENSOR_BYTES = 400


def write_safetensors(
    path: Path, tensors: Mapping[str, TensorData], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a file of these tensors, as `safetensors_bytes` takes them, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors_bytes(tensors, metadata))
    return path


def write_floats(
    path: Path,
    sizes: Mapping[str, int],
    metadata: Mapping[str, str] | None = None,
    *,
    fill: int = 0,
) -> Path:
    """Write a file of F32 tensors with these names and sizes (bytes), and return its path.

    Each tensor repeats one byte: `fill` in the first one, and one more in each that follows.
    """
    tensors: dict[str, TensorData] = {
        name: ("F32", [size // ITEM_BYTES], bytes([(fill + number) % 256]) * size)
        for number, (name, size) in enumerate(sizes.items())
    }
    return write_safetensors(path, tensors, metadata)


def plain_directory(directory: Path, names: Iterable[str] = ("a", "b", "c")) -> Path:
    """Write a safetensors file of equally large tensors and a config, and return the directory."""
    write_floats(directory / "model.safetensors", dict.fromkeys(names, TENSOR_BYTES))
    (directory / "config.json").write_text("{}")
    return directory


def framed(header: str | bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a file of this header and data, whatever the header is.

    `length` is the number of bytes that the file says its header has, by default the true one.
    """
    raw = header.encode() if isinstance(header, str) else header
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def read_tensors(directory: Path) -> dict[str, bytes]:
    """Return the bytes of each tensor in a directory's safetensors files, or those of its index."""
    names = sorted(path.name for path in directory.glob("*.safetensors"))
    for index in directory.glob("*.index.json"):
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    held: dict[str, bytes] = {}
    for name in names:
        data = (directory / name).read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:begin])
        header.pop("__metadata__", None)
        for tensor, entry in header.items():
            first, last = entry["data_offsets"]
            held[tensor] = data[begin + first : begin + last]
    return held
