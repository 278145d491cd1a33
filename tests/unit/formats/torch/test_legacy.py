"""Torch's files of before 1.6 are read as torch itself reads them."""

from __future__ import annotations

import io
import pickle
import random
from typing import Any

import pytest
import torch

from shardctl.findings import Finding
from shardctl.formats.detection import read_file
from shardctl.formats.torch.legacy import TorchLegacyReader
from shardctl.model import File
from shardctl.source.state_dict import flatten
from shardctl.testing.builders import BytesReader
from tests.support.legacy_files import legacy
from tests.support.state_dicts import COMMON_DTYPES, bits, random_state_dict, random_tensor
from tests.support.tensors import stored_bits

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")

_PATH = "weights.pth"


def _save(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _read(data: bytes) -> File:
    findings: list[Finding] = []
    file = read_file(BytesReader(_PATH, data), findings.append)
    # A type that torch saves here on an untyped storage, and does not load again.
    assert all("untyped" in finding.message for finding in findings)
    assert [finding for finding in findings if finding.severity == "error"] == []
    assert file is not None
    assert file.format == "bin"
    return file


def _assert_same(value: dict[str, Any], data: bytes) -> None:
    found = {tensor.name: tensor for tensor in flatten(_read(data).tree).tensors}
    assert list(found) == list(value)
    for name, theirs in value.items():
        assert found[name].shape == tuple(theirs.shape)
        assert stored_bits(found[name], data) == bits(theirs), name


@pytest.mark.parametrize("dtype", [*COMMON_DTYPES, "complex32", "complex128"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)], ids=str)
def test_dtypes(dtype: str, shape: tuple[int, ...]) -> None:
    """Every dtype and shape is read with its bits."""
    value = {"w": random_tensor(random.Random(2), dtype, shape)}
    _assert_same(value, _save(value))


@pytest.mark.parametrize("seed", range(4))
def test_random_checkpoints(seed: int) -> None:
    """Checkpoints with views, strides, ties and everything else are read alike."""
    value = random_state_dict(seed)
    _assert_same(value, _save(value))


def test_empty_tensors_of_two_types_share_a_storage() -> None:
    """Torch saves empty tensors of several types on one storage, and each has its type again."""
    storage = torch.UntypedStorage(0)
    types = (torch.float32, torch.int64, torch.bool)
    value = {str(each): torch.empty(0, dtype=each).set_(storage) for each in types}
    data = _save(value)
    _assert_same(value, data)


def test_parameters_and_nesting() -> None:
    """Nested state dicts and parameters are found; what is not a tensor is reported with
    its kind.
    """
    model = torch.nn.Linear(2, 3)
    file = _read(_save({"step": 3, "model": model.state_dict(), "p": model.weight}))
    found = flatten(file.tree)
    assert [tensor.name for tensor in found.tensors] == ["model.weight", "model.bias", "p"]
    assert [(opaque.name, opaque.kind) for opaque in found.non_tensors] == [
        ("step", "builtins.int")
    ]
    assert file.unsafe_globals == ()


def test_more_pickle_than_the_first_read() -> None:
    """Pickles longer than what is read at first are read whole."""
    value = {f"{'name' * 200}.{number}": torch.zeros(1) for number in range(1500)}
    data = _save(value)
    assert len(data) > 1024 * 1024
    assert list(_read(data).tree) == list(value)


def test_views_of_storages() -> None:
    """The sixth item of a persistent id, by which old torch shared storages, is followed as torch
    follows it.
    """
    data = legacy(
        storages={"r": range(10)},
        tensors={"whole": ("r", None, 0, (10,)), "part": ("r", ("v", 4, 5), 1, (3,))},
    )
    theirs = torch.load(io.BytesIO(data), weights_only=True)
    assert theirs["part"].tolist() == [5.0, 6.0, 7.0]
    _assert_same(theirs, data)


def test_other_protocols() -> None:
    """Newer pickle protocols are read too, where a writer chose them."""
    value = {"w": torch.arange(3.0)}
    for protocol in (2, 3, 4):
        buffer = io.BytesIO()
        torch.save(value, buffer, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
        _assert_same(value, buffer.getvalue())


def test_no_tensor_bytes_are_read() -> None:
    """Of a large storage only the number of its elements is read."""
    data = _save({"w": torch.zeros(3_000_000)})
    reader = BytesReader(_PATH, data)
    assert TorchLegacyReader().read(reader, lambda _: None) is not None
    assert sum(length for _, length in reader.ranges) < 1_100_000


@pytest.mark.parametrize("cut", [1, 30, 200, -1, -9, -100])
def test_truncation_is_found(cut: int) -> None:
    """A file that ends early is a finding, wherever it ends."""
    data = _save({"w": torch.arange(20.0), "v": torch.arange(3)})[:cut]
    findings: list[Finding] = []
    file = read_file(BytesReader(_PATH, data), findings.append)
    assert file is None
    assert len(findings) == 1


def test_a_plain_pickle_is_not_taken() -> None:
    """A pickle without torch's magic number is not a checkpoint, in any protocol."""
    findings: list[Finding] = []
    for protocol in range(6):
        data = pickle.dumps({"a": 1, "b": 2}, protocol)
        assert read_file(BytesReader(_PATH, data), findings.append) is None
    assert {finding.code for finding in findings} == {"pickle-invalid"}
    assert all("did not write" in finding.message for finding in findings)
