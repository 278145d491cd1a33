"""Whatever is converted, the result is what torch gives in memory."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.program import call_cli
from tests.support.state_dicts import COMMON_DTYPES, assert_equal, load, random_tensor, result, save

_TARGETS = {
    "bf16": torch.bfloat16,
    "f16": torch.float16,
    "f32": torch.float32,
    "f8_e5m2": torch.float8_e5m2,
}


def _converted(tensor: torch.Tensor, to: torch.dtype) -> torch.Tensor:
    return tensor.contiguous().to(to) if _is_number(tensor.dtype) else tensor


def _is_number(dtype: torch.dtype) -> bool:
    # The scales of blocks (e8m0) have only exponents.
    return dtype.is_floating_point and dtype is not torch.float8_e8m0fnu


def _random(chance: random.Random, dtype: str) -> torch.Tensor:
    """A matrix of numbers; without NaN, whose bits differ between parts of torch."""
    kind = getattr(torch, dtype)
    assert isinstance(kind, torch.dtype)
    if not _is_number(kind):
        return random_tensor(chance, dtype, (4, 6))
    numbers = [chance.uniform(-1, 1) * 10 ** chance.randint(-6, 2) for _ in range(24)]
    return torch.tensor(numbers, dtype=torch.float64).reshape(4, 6).to(kind)


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(COMMON_DTYPES), min_size=1, max_size=6),
    st.sampled_from(sorted(_TARGETS)),
    st.sampled_from(["safetensors", "bin"]),
    st.sampled_from(["safetensors", "bin"]),
    st.integers(1, 3),
    st.integers(0, 1 << 32),
)
def test_a_conversion_is_torchs(
    dtypes: list[str], target: str, first: str, then: str, shards: int, seed: int
) -> None:
    """Floating-point tensors have torch's bits, views and ties too; all others keep theirs."""
    chance = random.Random(seed)
    tensors: dict[str, torch.Tensor] = {}
    for number, dtype in enumerate(dtypes):
        whole = _random(chance, dtype)
        tensors |= {f"{number}.a": whole, f"{number}.b": whole, f"{number}.t": whole.t()}
        tensors |= {f"{number}.row": whole[1], f"{number}.columns": whole[:, 2:4]}
    to = _TARGETS[target]
    expected = {name: _converted(tensor, to) for name, tensor in tensors.items()}
    with tempfile.TemporaryDirectory() as directory:
        source = save(tensors, Path(directory, "source", f"model.{first}"))
        out = Path(directory, "target")
        options = ("--to", then, "--num-shards", min(shards, len(dtypes)), "--dtype", target, "-q")
        call_cli("reshard", source, out, *options, "--verify")
        assert_equal(load(result(out)), expected)
        call_cli("verify", out, "--deep", "-q")
