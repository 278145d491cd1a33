"""Small checkpoints for the tests of the command line, written byte by byte: these tests need no
tensor library.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

ITEM_BYTES = 4
#: Each of `plain_folder`'s three tensors has this many bytes.
TENSOR_BYTES = 400


def write_safetensors(
    path: Path,
    sizes: Mapping[str, int],
    metadata: Mapping[str, str] | None = None,
    *,
    fill: int = 0,
) -> Path:
    """A file of F32 tensors with these names and numbers of bytes; what they hold differs from
    tensor to tensor.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata or {"format": "pt"})}
    data = bytearray()
    for number, (name, size) in enumerate(sizes.items()):
        offsets = [len(data), len(data) + size]
        header[name] = {"dtype": "F32", "shape": [size // ITEM_BYTES], "data_offsets": offsets}
        data += bytes([(fill + number) % 256]) * size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def plain_directory(directory: Path, names: Iterable[str] = ("a", "b", "c")) -> Path:
    """A folder with one safetensors file of equal tensors, and a config beside it."""
    write_safetensors(directory / "model.safetensors", dict.fromkeys(names, TENSOR_BYTES))
    (directory / "config.json").write_text("{}")
    return directory


def write_torch(path: Path, value: object) -> Path:
    """Anything, saved with torch."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)
    return path


class Loud:
    """An object whose unpickling would make a file, to see that nobody unpickles it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self.path, "w"))


def loud_pickle(marker: Path) -> bytes:
    """A pickle that makes the file `marker` where it is loaded."""
    return pickle.dumps(Loud(str(marker)))
