"""Conversions are torch's, bit for bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from shardctl.streams.convert import CONVERTIBLE, converter

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
#: The upper bits of F32 with what decides rounding below them: exact, just above, ties, and their
#: neighbours for each of the narrower types.
_LOW = (0, 1, 0x0FFF, 0x1000, 0x1001, 0x2000, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF)


def torch_type(name: str) -> torch.dtype:
    """The type of that name in torch."""
    found = getattr(torch, CONVERTIBLE[name])
    assert isinstance(found, torch.dtype)
    return found


def sample(name: str) -> bytes:
    """Every value of a type of 8 or 16 bits; of a wider one all classes, and random bits."""
    size = torch_type(name).itemsize
    if size < 4:
        return bytes(np.arange(1 << 8 * size, dtype=_UNSIGNED[size]))
    chance = np.random.default_rng(7)
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    single = (upper[:, None] | np.array(_LOW, np.uint32)[None, :]).ravel()
    single = np.concatenate([single, chance.integers(0, 1 << 32, 1 << 18, np.uint32)])
    if size == 4:
        return bytes(single)
    with np.errstate(invalid="ignore"):
        double = single.view(np.float32).astype(np.float64).view(np.uint64)
    random = chance.integers(0, 1 << 64, 1 << 18, np.uint64)
    return bytes(np.concatenate([double, double + 1, double - 1, random]))


@pytest.mark.parametrize(("source", "target"), itertools.permutations(CONVERTIBLE, 2))
def test_every_value_is_torchs(source: str, target: str) -> None:
    """All values of the narrow types and a dense sample of the wide ones: subnormal numbers,
    infinities, NaN with any payload, overflow, ties.
    """
    data = sample(source)
    wanted = torch.frombuffer(bytearray(data), dtype=torch_type(source)).to(torch_type(target))
    kind = _UNSIGNED[torch_type(target).itemsize]
    expected = wanted.view(torch.uint8).numpy().view(kind)
    found = np.frombuffer(converter(source, target)(data), kind)
    assert len(found) == len(expected)
    wrong = np.flatnonzero(found != expected)
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        # Without vector code torch has other bits for NaN.
        numbers = torch.frombuffer(bytearray(found), dtype=torch_type(target)).float()
        wrong = wrong[~(numbers.isnan() & wanted.float().isnan()).numpy()[wrong]]
    assert not len(wrong), [(hex(found[at]), hex(expected[at])) for at in wrong[:5]]
