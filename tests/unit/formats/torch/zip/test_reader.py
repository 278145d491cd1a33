"""Reading torch's zip files: everything that torch.save writes comes out as torch itself reads
it.
"""

from __future__ import annotations

import argparse
import collections
import io
import random
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch

from shardctl.findings import Finding, strict
from shardctl.formats.hazards import hint_for
from shardctl.formats.torch.zip.reader import TorchZipReader
from shardctl.model import File, NonTensor, Root, Tensor
from shardctl.source.state_dict import flatten, state_dict_keys
from shardctl.testing.builders import BytesReader
from tests.support.state_dicts import COMMON_DTYPES, bits, random_state_dict, random_tensor
from tests.support.tensors import stored_bits

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")

_PATH = "pytorch_model.bin"
_DTYPES = (*COMMON_DTYPES, "complex32", "complex128")


def _save(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def _read(data: bytes) -> File:
    findings: list[Finding] = []
    file = TorchZipReader().read(BytesReader(_PATH, data), findings.append)
    assert findings == []
    assert file is not None
    return file


def _tensor(tree: Root, name: str) -> Tensor:
    value = tree[name]
    assert isinstance(value, Tensor)
    return value


def _assert_same(value: dict[str, torch.Tensor], data: bytes) -> None:
    tree = _read(data).tree
    assert list(tree) == list(value)
    for name, theirs in value.items():
        ours = _tensor(tree, name)
        assert getattr(torch, str(theirs.dtype).removeprefix("torch.")) is theirs.dtype
        assert ours.shape == tuple(theirs.shape), name
        assert ours.nbytes == theirs.numel() * theirs.element_size()
        assert stored_bits(ours, data) == bits(theirs), name


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)], ids=str)
def test_dtypes(dtype: str, shape: tuple[int, ...]) -> None:
    """Every dtype and shape is read with its bits."""
    value = {"w": random_tensor(random.Random(1), dtype, shape)}
    _assert_same(value, _save(value))


def test_views_and_strides() -> None:
    """Transposed, sliced, stepped and expanded views are read element by element as torch sees
    them.
    """
    base = torch.arange(60.0).reshape(3, 4, 5)
    value = {
        "base": base, "t": base.transpose(0, 2), "row": base[1], "column": base[:, 2],
        "step": base[::2, 1::2], "expanded": torch.arange(3.0)[:, None].expand(3, 4),
        "scalar": base[1, 2, 3], "none": base[3:], "flat": base.view(-1)[7:19],
        "one": base[:1, :, :1], "as": base.as_strided((2, 2), (1, 1), 3),
    }  # fmt: skip
    _assert_same(value, _save(value))


@pytest.mark.parametrize("seed", range(5))
def test_random_checkpoints(seed: int) -> None:
    """Checkpoints with everything in them are read alike."""
    value = random_state_dict(seed)
    _assert_same(value, _save(value))


def test_tied_and_shared() -> None:
    """Tied tensors have one identity; other views of the storage share the storage but not the
    identity.
    """
    base = torch.ones(4, 4)
    tree = _read(
        _save({"a": base, "b": base, "t": base.t(), "row": base[0], "other": torch.ones(4, 4)})
    ).tree
    tensors = {name: _tensor(tree, name) for name in tree}
    assert tensors["a"].identity == tensors["b"].identity
    assert len({tensor.identity for tensor in tensors.values()}) == 4
    assert len({tensor.storage.identity for tensor in tensors.values()}) == 2


def test_empty_tensors_of_two_types_share_a_storage() -> None:
    """Torch saves empty tensors of several types on one storage, and each has its type again."""
    storage = torch.UntypedStorage(0)
    types = (torch.float32, torch.int64, torch.bool)
    value = {str(each): torch.empty(0, dtype=each).set_(storage) for each in types}
    data = _save(value)
    _assert_same(value, data)


def test_parameters_and_attributes() -> None:
    """Parameters, tensors with attributes and buffers of a module are tensors."""
    marked = torch.ones(3)
    marked.mark = "x"
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = {"k": 1}
    value: dict[str, torch.Tensor] = {
        "p": torch.nn.Parameter(torch.arange(3.0)),
        "m": marked,
        "pm": parameter,
    }
    _assert_same(value, _save(value))
    state = torch.nn.BatchNorm1d(3).state_dict()
    _assert_same(state, _save(state))


@pytest.mark.parametrize(
    "lazy", [torch.ones(2, dtype=torch.complex64).conj(), torch._neg_view(torch.ones(2))]
)
def test_lazy_tensors_are_not_read(lazy: torch.Tensor) -> None:
    """A tensor that is to be conjugated or negated on loading is never read with the wrong sign: it
    is an entry that is not read, and those beside it are.
    """
    data = _save({"w": lazy, "p": torch.nn.Parameter(lazy.clone()), "v": torch.ones(2)})
    file = TorchZipReader().read(BytesReader(_PATH, data), strict)
    assert file is not None
    unread = file.tree["w"]
    assert isinstance(unread, NonTensor)
    assert unread.unread
    assert unread.storages == 1
    assert "resolve" in hint_for(unread)
    assert isinstance(file.tree["v"], Tensor)


def test_training_checkpoint() -> None:
    """Of a training checkpoint every tensor is found; all else is a non-tensor of its kind."""
    import numpy as np

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    value = {
        "step": 7, "loss": np.float64(0.5), "args": argparse.Namespace(lr=0.1), "seen": {1, 2},
        "name": "run", "shape": torch.Size([1, 2]), "dtype": torch.float16,
        "device": torch.device("cpu"), "numbers": [1, 2], "counter": collections.Counter("aab"),
        "array": np.ones(3), "default": collections.defaultdict(int, a=1),
        "model": model.state_dict(), "optim": optimizer.state_dict(),
        "groups": [torch.ones(1), torch.ones(2)],
    }  # fmt: skip
    file = _read(_save(value))
    found = flatten(file.tree)
    kinds = {opaque.name: opaque.kind for opaque in found.non_tensors}
    assert kinds["step"] == "builtins.int"
    assert kinds["args"] == "argparse.Namespace"
    assert kinds["dtype"] == "torch.float16"
    assert kinds["device"] == "torch.device"
    assert kinds["counter"] == "collections.Counter"
    assert kinds["numbers"] == "builtins.list"
    assert {"loss", "seen", "default.a", "shape"} <= set(kinds)
    assert [value.name for value in found.non_tensors if value.unread] == ["array"]
    assert {"model.weight", "model.bias", "optim.state.0.exp_avg", "groups.1"} <= {
        t.name for t in found.tensors
    }
    assert "model" in state_dict_keys(file.tree)
    assert any(name.startswith("numpy.") for name in file.unsafe_globals)
    assert "argparse.Namespace" in file.unsafe_globals
    assert not any(name.startswith("torch.") for name in file.unsafe_globals)


def test_an_empty_checkpoint() -> None:
    """A dict without entries is read."""
    assert _read(_save({})).tree == {}


def test_other_roots() -> None:
    """A list of tensors is named by its places and one tensor as the only item of a list; a model
    is an entry that is not read, and a number is refused.
    """
    assert list(_read(_save([torch.ones(2), torch.ones(3)])).tree) == ["0", "1"]
    assert list(_read(_save(({"a": torch.ones(2)}, {"lr": 1}))).tree) == ["0", "1"]
    assert list(_read(_save(torch.ones(2))).tree) == ["0"]
    (model,) = _read(_save(torch.nn.Linear(2, 2))).tree.values()
    assert model == NonTensor("(root)", "torch.nn.modules.linear.Linear", True, 2, 24)
    findings: list[Finding] = []
    assert TorchZipReader().read(BytesReader(_PATH, _save(5)), findings.append) is None
    assert [finding.code for finding in findings] == ["pickle-invalid"]


def rename(data: bytes, names: dict[str, str]) -> bytes:
    """The zip with records under other names, written by Python's zipfile: another valid layout."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            if info.filename.endswith((".format_version", ".storage_alignment")):
                continue  # this writer has another layout than they describe
            content = old.read(info)
            if info.filename.endswith("data.pkl"):
                for before, after in names.items():
                    old_key, new_key = before.encode(), after.encode()
                    content = content.replace(
                        b"X" + struct.pack("<I", len(old_key)) + old_key,
                        b"X" + struct.pack("<I", len(new_key)) + new_key,
                    )
            directory, _, key = info.filename.rpartition("/")
            new.writestr(f"{directory}/{names.get(key, key)}", content)
    return buffer.getvalue()


def test_keys_of_torch_1() -> None:
    """Storage keys that are addresses, and zips of another writer, are read all the same; torch
    reads them too.
    """
    value = {"a": torch.arange(3.0), "b": torch.arange(4)}
    data = rename(_save(value), {"0": "94340341200128", "1": "94340341200256"})
    _assert_same(value, data)
    assert torch.equal(torch.load(io.BytesIO(data), weights_only=True)["b"], value["b"])
    assert {_tensor(_read(data).tree, name).storage.key for name in "ab"} == {
        "94340341200128",
        "94340341200256",
    }


def test_records_carry_their_checksums(tmp_path: Path) -> None:
    """Each record's extent and CRC-32 are those of the zip, for a file on disk with a top directory
    another name.
    """
    path = tmp_path / "weights.bin"
    torch.save({"a": torch.arange(3.0)}, path)
    data = path.read_bytes()
    file = _read(data)
    assert len(file.records) == len(zipfile.ZipFile(path).namelist())
    for record in file.records:
        content = data[record.extent.offset : record.extent.end]
        assert record.crc32 == zlib.crc32(content)


def test_no_tensor_bytes_are_read() -> None:
    """Reading asks for headers and the pickle only, never for the bytes of a storage."""
    data = _save({"a": torch.ones(100_000)})
    reader = BytesReader(_PATH, data)
    file = TorchZipReader().read(reader, strict)
    assert file is not None
    extent = _tensor(file.tree, "a").storage.extent
    assert sum(length for _, length in reader.ranges) < 5_000
    assert all(
        offset + length <= extent.offset or offset >= extent.end for offset, length in reader.ranges
    )


def test_headers_of_small_tensors_are_read_together() -> None:
    """What is around many small tensors takes a few reads, and the bytes of larger ones none."""
    sizes = [3] * 500 + [2_000] * 3 + [1_000] * 500
    data = _save({f"w{number}": torch.zeros(size) for number, size in enumerate(sizes)})
    reader = BytesReader(_PATH, data)
    file = TorchZipReader().read(reader, strict)
    assert file is not None
    assert len(reader.ranges) < 50
    for number in (500, 501, 502):
        extent = _tensor(file.tree, f"w{number}").storage.extent
        assert all(
            offset + length <= extent.offset or offset >= extent.end
            for offset, length in reader.ranges
        )


def test_absent_checksums_warn() -> None:
    """A zip whose checksums are all 0 is read, with a warning and records without checksums."""
    data = bytearray(_save({"a": torch.arange(3.0)}))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        for info in archive.infolist():
            crc = struct.pack("<I", info.CRC)
            for place in [i for i in range(len(data)) if info.CRC and data[i : i + 4] == crc]:
                data[place : place + 4] = bytes(4)
    findings: list[Finding] = []
    file = TorchZipReader().read(BytesReader(_PATH, bytes(data)), findings.append)
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("zip-crc-absent", "warning")
    ]
    assert file is not None
    assert all(record.crc32 is None for record in file.records if record.extent.length)


def test_storages_that_are_filled_in_later_have_no_checksum() -> None:
    """What `skip_data` leaves out has no checksum to be compared with; a warning says so."""
    with torch.serialization.skip_data():
        data = _save({"a": torch.arange(3.0), "b": torch.zeros(0)})
    findings: list[Finding] = []
    file = TorchZipReader().read(BytesReader(_PATH, data), findings.append)
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("zip-crc-absent", "warning")
    ]
    assert findings[0].message.startswith("1 storage without a checksum, the first is '0'")
    assert file is not None
    assert _tensor(file.tree, "a").storage.crc32 is None
    assert {record.key for record in file.records if record.crc32 is None} == {"0"}


def test_non_tensors_are_inert() -> None:
    """A value of a foreign class is a name and nothing else."""
    tree = _read(_save({"w": torch.ones(1), "p": Path("x")})).tree
    assert isinstance(tree["p"], NonTensor)
    assert "pathlib" in tree["p"].kind
