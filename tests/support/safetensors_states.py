"""Random state dicts of every type that safetensors has, and what is read of their files."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from shardctl.findings import strict
from shardctl.formats.safetensors.reader import SafetensorsReader
from shardctl.model import File, Tensor
from shardctl.testing.builders import BytesReader

PATH = "model.safetensors"
TORCH_DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32,
    torch.int64, torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.complex64, torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e8m0fnu,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float4_e2m1fn_x2,
)  # fmt: skip

texts = st.text(st.characters(codec="utf-8"), max_size=12)
metadata_pairs = st.dictionaries(texts, texts, max_size=4)
_names = texts.filter(lambda name: name != "__metadata__")
_shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def torch_tensor(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Return a tensor of random bytes."""
    elements = 1
    for size in shape:
        elements *= size
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(
        0, 2 if dtype is torch.bool else 256, (elements * dtype.itemsize,), generator=generator
    )
    return raw.to(torch.uint8).view(dtype).reshape(shape)


@st.composite
def state_dicts(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """Draw a state dict of up to six tensors."""
    names = draw(st.lists(_names, unique=True, max_size=6))
    tensors: dict[str, torch.Tensor] = {}
    for seed, name in enumerate(names):
        dtype, shape = draw(st.sampled_from(TORCH_DTYPES)), draw(_shapes)
        if dtype is torch.float4_e2m1fn_x2 and not shape:
            shape = (1,)  # two elements a byte: a scalar has no such form
        tensors[name] = torch_tensor(dtype, shape, seed)
    return tensors


def read_file(data: bytes) -> File:
    """Return what is read of a sound file."""
    file = SafetensorsReader().read(BytesReader(PATH, data), strict)
    assert file is not None
    return file


def tensors_of(file: File) -> list[Tensor]:
    """Return the tensors of a file, in its order."""
    return [tensor for tensor in file.tree.values() if isinstance(tensor, Tensor)]
