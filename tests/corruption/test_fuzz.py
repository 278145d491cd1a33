"""Files with random damage: reading succeeds or finds a fault, and never fails in any other way."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors

from shardctl.errors import FormatError
from shardctl.findings import Finding, strict
from shardctl.formats.detection import read_file
from shardctl.layout import view_of
from shardctl.model import File, Tensor
from shardctl.source.state_dict import flatten
from shardctl.stores.local.store import LocalStore
from shardctl.testing.builders import BytesReader
from shardctl.verify.run import Thoroughness, verify
from tests.support.state_dicts import random_state_dict

_PATH = "model"
_BYTE = st.integers(0, 255)
_PLACE = st.floats(0, 1, exclude_max=True)


def _bin(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _legacy(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


_VALUE = random_state_dict(5)
_FILES = {
    "bin": _bin(_VALUE),
    "training": _bin({"step": 1, "model": {"w": torch.ones(3)}, "args": range(3)}),
    "legacy": _legacy(_VALUE),
    "safetensors": save_safetensors(
        {name: tensor.clone().contiguous() for name, tensor in _VALUE.items()}
    ),
}


@st.composite
def _damage(draw: st.DrawFn, data: bytes) -> bytes:  # noqa: C901 - a table of mutations
    """The file with one to four mutations."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        size = max(len(changed), 1)
        one, other = (int(draw(_PLACE) * size) for _ in range(2))
        length = draw(st.integers(1, 64))
        match draw(
            st.sampled_from(
                ["flip", "byte", "cut", "copy", "swap", "insert", "remove", "number", "early"]
            )
        ):
            case "flip" if changed:
                changed[one] ^= 1 << draw(st.integers(0, 7))
            case "byte" if changed:
                changed[one] = draw(_BYTE)
            case "cut":
                del changed[one:]
            case "copy":
                changed[one : one + length] = changed[other : other + length]
            case "swap":
                begin, end = sorted((one, other))
                middle = changed[begin + length : end]
                changed[begin : end + length] = (
                    changed[end : end + length] + middle + changed[begin : begin + length]
                )
            case "insert":
                changed[one:one] = draw(st.binary(min_size=1, max_size=16))
            case "remove":
                del changed[one : one + length]
            case "number":
                number = draw(st.sampled_from([0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1]))
                changed[one : one + 8] = number.to_bytes(8, "little")
            case "early" if changed:
                changed[one % min(size, 2048)] = draw(_BYTE)
            case _:
                pass
    return bytes(changed)


@pytest.mark.parametrize("kind", list(_FILES))
@settings(max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damage_is_found_or_harmless(kind: str, data: st.DataObject) -> None:
    """Whatever happened to a file, reading it succeeds or reports findings; strictly read, it
    raises FormatError.
    """
    damaged = data.draw(_damage(_FILES[kind]))
    findings: list[Finding] = []
    file = read_file(BytesReader(_PATH, damaged), findings.append)
    errors = [finding for finding in findings if finding.severity == "error"]
    assert file is not None or errors
    for finding in findings:
        assert finding.message.isprintable()
        assert finding.hint
    if errors:
        with pytest.raises(FormatError):
            read_file(BytesReader(_PATH, damaged), strict)
    for tensor in flatten(file.tree).tensors if file else ():
        assert tensor.span.end <= len(damaged)
        assert view_of(tensor).nbytes == tensor.nbytes


def _small() -> bytes:
    return _bin({"w": torch.arange(3), "t": torch.arange(4.0).reshape(2, 2).t()})


def _content(file: File, data: bytes) -> dict[str, object]:
    return {tensor.name: _described(tensor, data) for tensor in flatten(file.tree).tensors}


def _described(tensor: Tensor, data: bytes) -> object:
    return (tensor.dtype, tensor.shape, tensor.strides, data[tensor.span.offset : tensor.span.end])


def _harmless(data: bytes) -> set[int]:
    """The bytes of a zip that no reader of torch's files looks at: padding, times, attributes and
    versions.
    """
    free: set[int] = set()
    archive = zipfile.ZipFile(io.BytesIO(data))
    for info in archive.infolist():
        at = info.header_offset
        free |= {at + 4, at + 5, *range(at + 10, at + 14)}
        name, extra = (
            int.from_bytes(data[at + place : at + place + 2], "little") for place in (26, 28)
        )
        begin = at + 30 + name
        free |= {begin, begin + 1, *range(begin + 4, begin + extra)}
    at = archive.start_dir
    for info in archive.infolist():
        assert data[at : at + 4] == b"PK\x01\x02"
        free |= {*range(at + 4, at + 8), *range(at + 12, at + 16), *range(at + 36, at + 42)}
        at += 46 + len(info.filename.encode()) + len(info.extra)
    return free | {at + 12, at + 13, at + 14, at + 15}  # the versions in the zip64 end record


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    """Of a small file each flipped byte is found by a deep verify, or is padding and leaves the
    tensors alone.
    """
    data = _small()
    free = _harmless(data)
    path = tmp_path / "pytorch_model.bin"
    sound = read_file(BytesReader(_PATH, data), strict)
    assert sound is not None
    path.write_bytes(data)
    assert verify(LocalStore(), str(path), Thoroughness(deep=True, jobs=1)).ok
    draw = random.Random(0)
    missed = []
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= draw.randint(1, 255)
        path.write_bytes(changed)
        if not verify(LocalStore(), str(path), Thoroughness(deep=True, jobs=1)).ok:
            continue
        read = read_file(BytesReader(_PATH, bytes(changed)), strict)
        assert read is not None
        assert _content(read, bytes(changed)) == _content(sound, data)
        if place not in free:
            missed.append(place)
    assert missed == []
