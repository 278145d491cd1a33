"""State dicts of torch: made at random, saved, loaded with upstream's loaders, and compared."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: torch's names of the element types that both formats hold.
COMMON_DTYPES = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16",
    "bfloat16", "float32", "float64", "complex64", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip


def random_tensor(draw: random.Random, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of any bits that its type can have."""
    import torch

    real = getattr(torch, dtype)
    empty = torch.empty(shape, dtype=real)
    if dtype == "bool":
        return torch.tensor(
            [draw.random() < 0.5 for _ in range(empty.numel())], dtype=real
        ).reshape(shape)
    if not empty.numel():
        return empty
    return torch.frombuffer(bytearray(draw.randbytes(empty.nbytes)), dtype=real).reshape(shape)


def random_state_dict(seed: int) -> dict[str, torch.Tensor]:
    """Everything that a checkpoint may hold: all types, ties, views, strides, scalars, empty
    tensors.
    """
    draw = random.Random(seed)
    tensors: dict[str, torch.Tensor] = {}
    for number, dtype in enumerate(draw.sample(COMMON_DTYPES, len(COMMON_DTYPES))):
        shape = tuple(draw.randint(1, 5) for _ in range(draw.randint(1, 3)))
        tensors[f"layer.{number}.{dtype}"] = random_tensor(draw, dtype, shape)
    base = random_tensor(draw, "float32", (6, 8))
    tensors |= {
        "scalar": random_tensor(draw, "bfloat16", ()),
        "empty": random_tensor(draw, "float16", (0, 3)),
        "empty.too": random_tensor(draw, "int64", (0,)),
        "tied.z": base,
        "tied.a": base,
        "view.row": base[2],
        "view.tail": base[3:, :],
        "strided.columns": base[:, 1:5],
        "strided.transposed": base.t(),
        "strided.expanded": random_tensor(draw, "int32", (1, 4)).expand(3, 4),
        "names.[bold]/../ü\t": random_tensor(draw, "uint8", (3,)),
    }
    names = draw.sample(list(tensors), len(tensors))
    return {name: tensors[name] for name in names}


def bits(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor's elements, row-major: NaNs are compared too."""
    import torch

    if not tensor.numel():
        return b""
    # A clone: torch takes one element at any stride for contiguous already.
    flat = tensor.detach().reshape(-1).clone(memory_format=torch.contiguous_format)
    return bytes(flat.view(torch.uint8).tolist())


def assert_equal(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Names, types, shapes and bits are the same."""
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        other = found[name]
        assert (other.dtype, other.shape) == (tensor.dtype, tensor.shape), name
        assert bits(other) == bits(tensor), name


def load(path: Path) -> dict[str, torch.Tensor]:
    """Everything that an index or a single file leads to, with torch's or safetensors' own loader.

    Names that are recorded as tied are given the tensor that they are tied to.
    """
    document = json.loads(path.read_text()) if path.suffix == ".json" else None
    names = [path.name] if document is None else sorted(set(document["weight_map"].values()))
    tensors: dict[str, torch.Tensor] = {}
    recorded = {} if document is None else dict(document["metadata"])
    for name in names:
        held, metadata = _load_file(path.with_name(name))
        if document is not None:
            assert {key for key, shard in document["weight_map"].items() if shard == name} == set(
                held
            )
        tensors |= held
        recorded |= metadata
    aliases = {
        alias: kept for alias, kept in recorded.items() if isinstance(kept, str) and kept in tensors
    }
    return tensors | {alias: tensors[kept] for alias, kept in aliases.items()}


def _load_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    if path.suffix == ".safetensors":
        from safetensors import safe_open
        from safetensors.torch import load_file

        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    import torch

    return torch.load(path, weights_only=True), {}


def write_torch(path: Path, value: object) -> Path:
    """Save anything with torch, and return the file's path."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)
    return path


def save(tensors: Mapping[str, torch.Tensor], path: Path) -> Path:
    """Save with torch or safetensors, by the suffix; into safetensors every tensor goes with its
    own bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        own = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
        save_file(own, path, metadata={"format": "pt"})
    else:
        import torch

        torch.save(dict(tensors), path)
    return path


def result(directory: Path) -> Path:
    """What a loader takes of a directory that was written: its index, or its only weights file."""
    index = sorted(directory.glob("*.index.json"))
    files = index or [
        path for path in directory.iterdir() if path.suffix in (".bin", ".safetensors")
    ]
    (path,) = files
    return path
