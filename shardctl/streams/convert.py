"""Floating-point numbers of one type as numbers of another, bit for bit as torch converts them.

Source: the conversions of torch 2.13 (`c10/util/BFloat16.h`, `Half.h`, `Float8_*.h`, and the vector
code of `aten/src/ATen/cpu/vec`), checked on every value of the types of 8 and 16 bits. Every
conversion goes by way of F32, as torch's does, so that F64 is rounded twice. numpy and ml_dtypes
round to nearest, ties to even, as torch does; here is where they differ from it: in the bits of
NaN, which no standard prescribes, and past the largest F8_E4M3, where torch saturates. Where
torch's vector and scalar code differ (NaN from F16 and F64), this is the vector code's result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shardctl.errors import UsageError

Chunk = bytes | bytearray | memoryview

#: The types that can be converted, all into each other, by their names in `model.DTYPES`: numpy's
#: or ml_dtypes' name of each.
CONVERTIBLE = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}
#: The largest number of F8_E4M3, which has no infinity.
_LARGEST_E4M3 = 448.0
#: The bits of F32: its sign, and the one that tells a quiet NaN.
_SIGN, _QUIET = 0x8000_0000, 0x0040_0000


def converter(source: str, target: str) -> Callable[[Chunk], memoryview]:
    """Return what converts the bytes of elements; `source` and `target` are of `CONVERTIBLE`.

    Raises UsageError where numpy or ml_dtypes is not installed.
    """
    try:
        import ml_dtypes  # noqa: PLC0415 - an extra, and only what is converted needs it
        import numpy as np  # noqa: PLC0415, TID251 - as above; the core works without it
    except ImportError as error:
        raise UsageError(
            f"converting tensors needs numpy and ml_dtypes ({error})",
            hint="install them: pip install 'shardctl[numbers]'",
        ) from error

    def type_of(name: str) -> Any:
        known = CONVERTIBLE[name]
        return np.dtype(getattr(ml_dtypes, known, known)).newbyteorder("<")

    from_type, to_type = type_of(source), type_of(target)

    def convert(chunk: Chunk) -> memoryview:
        numbers = np.frombuffer(chunk, from_type)
        # Numbers that are too large, and NaN, are converted as they are: no news to anybody.
        with np.errstate(all="ignore"):
            single = numbers if source == "F32" else _single(np, numbers, source)
            made = _narrowed(np, single, source, target, to_type)
            data: memoryview = made.view(np.uint8).data
            return data

    return convert


def _single(np: Any, numbers: Any, source: str) -> Any:
    """Return numbers as F32, with torch's NaN."""
    single = numbers.astype(np.float32)
    nan = np.isnan(single)
    if source in ("F64", "BF16") or not nan.any():
        return single
    bits = single.view(np.uint32)
    sign = bits[nan] & _SIGN
    match source:
        case "F16":
            bits[nan] |= _QUIET
        case "F8_E4M3":
            bits[nan] = sign | 0x7FF0_0000
        case "F8_E5M2":
            payload = (numbers.view(np.uint8)[nan] & 1).astype(np.uint32) << 21
            bits[nan] = sign | 0x7FC0_0000 | payload
        case _:
            bits[nan] = 0x7F80_0001
    return single


def _narrowed(np: Any, single: Any, source: str, target: str, to_type: Any) -> Any:
    """Return F32 as numbers of the target type, with torch's NaN; `source` is what they were."""
    if target == "F32":
        return single
    if target == "F8_E4M3":
        return np.clip(single, -_LARGEST_E4M3, _LARGEST_E4M3).astype(to_type)
    made = single.astype(to_type)
    if target in ("F64", "F8_E4M3FNUZ", "F8_E5M2FNUZ"):
        return made
    nan = np.isnan(single)
    if nan.any():
        was = single.view(np.uint32)[nan]
        match target:
            case "F16":
                payload = 0x7E00 | (was >> 13 & 0x3FF)
                made.view(np.uint16)[nan] = (was >> 16 & 0x8000) | payload
            case "BF16":
                made.view(np.uint16)[nan] = 0xFFFF if source in ("F64", "F32") else 0x7FC0
            case "F8_E5M2":
                made.view(np.uint8)[nan] = (was >> 24 & 0x80) | 0x7F
    return made
