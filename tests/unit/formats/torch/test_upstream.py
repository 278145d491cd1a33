"""What torch reads of a file, under our names and counted as we count."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shardctl.findings import strict
from shardctl.formats.base import Upstream
from shardctl.formats.detection import read_file
from shardctl.formats.torch.upstream import as_loaded, open_with_torch
from shardctl.model import DTYPES, Extent, Storage, Tensor
from shardctl.stores.local.store import LocalStore
from shardctl.verify.run import Thoroughness, verify
from tests.support.legacy_files import legacy


def tensor(name: str, dtype: str = "F32", shape: tuple[int, ...] = (2,)) -> Tensor:
    """A tensor of ours."""
    nbytes = DTYPES[dtype].nbytes(math.prod(shape))
    return Tensor(name, DTYPES[dtype], shape, Storage(Extent("m", 0, nbytes), name))


def opened(path: Path, key: str | None = None) -> Upstream:
    """A file as torch opens it."""
    with LocalStore().open(str(path)) as reader:
        file = read_file(reader, strict)
    assert file is not None
    return open_with_torch(file, key)


def saved(value: object, directory: Path, key: str | None = None) -> Upstream:
    """A value that torch saves and opens again."""
    torch.save(value, directory / "m.bin")
    return opened(directory / "m.bin", key)


def values(found: Upstream, name: str) -> list[float]:
    """The floats of a tensor."""
    data = found.load(tensor(name)).data
    return list(struct.unpack(f"<{len(data) // 4}f", data))


# names


def test_nested_tensors_have_dotted_names(tmp_path: Path) -> None:
    """Those of dicts, lists and tuples at any depth; what is not a tensor has none."""
    value = {"a": torch.ones(1), "b": {"c": [torch.ones(2), 5, (torch.ones(3),)]}, "lr": 0.1}
    found = saved(value, tmp_path)
    assert set(found.names) == {"a", "b.c.0", "b.c.2.0"}
    assert values(found, "b.c.2.0") == [1, 1, 1]


def test_a_tensor_that_is_alone_is_called_0(tmp_path: Path) -> None:
    """As the only item of a list would be."""
    assert set(saved(torch.ones(2), tmp_path).names) == {"0"}
    assert set(saved([torch.ones(2)], tmp_path).names) == {"0"}


@pytest.mark.parametrize("value", [{}, {"lr": 0.1, "deep": {"er": []}}])
def test_without_tensors_there_are_no_names(tmp_path: Path, value: object) -> None:
    """Nothing can be loaded then."""
    found = saved(value, tmp_path)
    assert set(found.names) == set()
    with pytest.raises(KeyError):
        found.load(tensor("lr"))


def test_keys_that_read_alike_are_told_apart(tmp_path: Path) -> None:
    """A text keeps its name, whether it comes first or last; the others get numbers."""
    for keys in ([1, "1"], ["1", 1]):
        value = {key: torch.full((1,), float(isinstance(key, str))) for key in keys}
        found = saved(value, tmp_path)
        assert set(found.names) == {"1", "1 (2)"}
        assert (values(found, "1"), values(found, "1 (2)")) == ([1], [0])


# the key of a nested state dict


NESTED = {
    "model": {"w": torch.ones(2), "inner": {"v": torch.zeros(2)}, "step": 3},
    "model.ema": {"w": torch.full((2,), 2.0)},
    "list": [{"w": torch.full((2,), 3.0)}],
}


@pytest.mark.parametrize(
    ("key", "names", "first"),
    [
        ("model", {"w"}, 1.0),
        ("model.inner", {"v"}, 0.0),
        ("model.ema", {"w"}, 2.0),
        ("list.0", {"w"}, 3.0),
        ("model.w", {"model.w"}, 1.0),
    ],
)
def test_a_key_chooses_a_state_dict(
    tmp_path: Path, key: str, names: set[str], first: float
) -> None:
    """Its own tensors are known by their names in it, not those further down; a key with a dot
    counts before a path, and one that leads to a tensor is its name.
    """
    found = saved(NESTED, tmp_path, key)
    assert set(found.names) == names
    assert values(found, names.pop())[0] == first


@pytest.mark.parametrize("key", ["none", "model.none", "model.step.x", "model.w.x", "list.1", ""])
def test_a_key_that_leads_nowhere(tmp_path: Path, key: str) -> None:
    """It is a KeyError, also below what holds no entries."""
    with pytest.raises(KeyError):
        saved(NESTED, tmp_path, key)


def test_a_key_that_leads_to_another_value_has_no_tensors(tmp_path: Path) -> None:
    """Such a value, for example a number, holds none."""
    assert set(saved(NESTED, tmp_path, "model.step").names) == set()


# files and values


def test_files_of_before_torch_1_6_are_opened(tmp_path: Path) -> None:
    """Torch cannot map them into memory, and reads them whole."""
    data = legacy(storages={"s": [1.5, 2.5, 3.5]}, tensors={"w": ("s", None, 1, (2,))})
    (tmp_path / "old.pt").write_bytes(data)
    found = opened(tmp_path / "old.pt")
    assert set(found.names) == {"w"}
    assert values(found, "w") == [2.5, 3.5]


def test_nothing_is_executed(tmp_path: Path) -> None:
    """A value of a class that torch does not know as safe is an error of torch's."""
    with pytest.raises(Exception, match="weights_only"):
        saved({"w": torch.ones(1), "path": tmp_path}, tmp_path)


@pytest.mark.parametrize(
    ("theirs", "shape", "expected"),
    [
        (torch.tensor(1.5), (), [1.5]),
        (torch.zeros(0, 3), (0, 3), []),
        (torch.arange(6.0).reshape(2, 3).T, (3, 2), [0, 3, 1, 4, 2, 5]),
        (torch.arange(6.0)[::2], (3,), [0, 2, 4]),
        (torch.ones(1).expand(2, 2), (2, 2), [1, 1, 1, 1]),
        (torch.arange(10.0).as_strided((1, 1), (3, 7), 4), (1, 1), [4]),
        (torch.nn.Parameter(torch.ones(2)), (2,), [1, 1]),
    ],
    ids=["scalar", "empty", "transposed", "stepped", "expanded", "one element", "parameter"],
)
def test_bytes_are_row_major(
    theirs: torch.Tensor, shape: tuple[int, ...], expected: list[float]
) -> None:
    """However the elements lie in memory, they are given in their order."""
    loaded = as_loaded(theirs, tensor("w", shape=shape))
    assert loaded.shape == shape
    assert list(struct.unpack(f"<{len(expected)}f", loaded.data)) == expected


@pytest.mark.parametrize(("dtype", "ours"), [(torch.bfloat16, "BF16"), (torch.bool, "BOOL")])
def test_types_without_numpy_are_bytes(dtype: torch.dtype, ours: str) -> None:
    """What numpy has no type for is given all the same."""
    loaded = as_loaded(torch.ones(3, dtype=dtype), tensor("w", ours, (3,)))
    assert (loaded.shape, len(loaded.data)) == ((3,), 3 * dtype.itemsize)


def test_packed_elements_are_counted_one_by_one() -> None:
    """Torch counts four-bit floats in pairs along the last dimension."""
    packed = torch.arange(8, dtype=torch.uint8).reshape(2, 4).view(torch.float4_e2m1fn_x2)
    loaded = as_loaded(packed, tensor("w", "F4", (2, 8)))
    assert (loaded.shape, bytes(loaded.data)) == ((2, 8), bytes(range(8)))


def test_lazily_negated_tensors_agree_with_torch() -> None:
    """Bytes of a tensor with a bit for its sign or conjugate are those that its values have."""
    conjugate = torch.tensor([1 + 2j, 3 - 4j]).conj()
    ours = tensor("w", "C64")
    assert bytes(as_loaded(conjugate, ours).data) == conjugate.resolve_conj().numpy().tobytes()
    negated = replace(ours, dtype=DTYPES["F32"])
    assert bytes(as_loaded(conjugate.imag, negated).data) == struct.pack("<2f", -2, 4)


@pytest.mark.parametrize(
    "value",
    [
        {"w": torch.arange(10.0).as_strided((1, 1), (3, 7), 4)},
        {"w": torch.full((3,), float("nan")), "e": torch.zeros(0, 3), "s": torch.tensor(1.0)},
        {1: torch.ones(2), "1": torch.zeros(2), ("a", 1): torch.ones(1), None: torch.ones(1)},
        [torch.ones(2), (torch.zeros(1),), {"a": torch.ones(3)}],
        torch.ones(2),
        {"a": {"b": torch.ones(2)}, "lr": 0.1, 5: {"c": torch.zeros(2)}},
    ],
    ids=["one element", "values", "keys", "list", "tensor", "nested"],
)
def test_what_torch_saves_agrees_with_torch(tmp_path: Path, value: object) -> None:
    """Whatever torch has saved, both readers have the same names, shapes and bytes."""
    torch.save(value, tmp_path / "m.bin")
    assert verify(LocalStore(), str(tmp_path / "m.bin"), Thoroughness(load=True)).findings == ()
