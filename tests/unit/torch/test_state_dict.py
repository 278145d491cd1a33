"""A checkpoint as a lazy mapping, and slices that read only their bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import shardctl
from tests.support.state_dicts import assert_equal, bits, random_state_dict, save

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """Tensors of all kinds."""
    return random_state_dict(7)


@pytest.fixture(params=["safetensors", "bin"])
def weights(request: pytest.FixtureRequest, state: dict[str, Any], tmp_path: Path) -> Any:
    """The tensors in several shards, opened."""
    from shardctl.torch import open as open_state
    from shardctl.torch import save_sharded

    save_sharded(state, tmp_path / "m", max_shard_size=200, format=request.param)
    with open_state(tmp_path / "m") as opened:
        yield opened


def test_it_is_a_mapping(weights: Any, state: dict[str, Any]) -> None:
    """Names, length and tensors are those of the state dict, tied names too."""
    assert set(weights) == set(state)
    assert len(weights) == len(state)
    assert "scalar" in weights
    assert "unknown" not in weights
    assert_equal(dict(weights), state)
    with pytest.raises(KeyError, match="unknown"):
        weights["unknown"]
    assert weights.files == tuple(sorted(weights.files))
    assert f"{len(state)} tensors" in repr(weights)


def test_threads_may_share_it(weights: Any, state: dict[str, Any]) -> None:
    """Reads of any number of threads do not disturb each other."""
    names = list(state) * 5
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: bits(weights[name]), names))
    assert found == [bits(state[name]) for name in names]


def test_it_is_a_state_dict_argument(tmp_path: Path) -> None:
    """Torch's own `load_state_dict` takes it."""
    from shardctl.torch import open as open_state

    model = torch.nn.Linear(3, 2)
    with open_state(save(model.state_dict(), tmp_path / "m.safetensors")) as weights:
        other = torch.nn.Linear(3, 2)
        other.load_state_dict(weights)
    assert_equal(other.state_dict(), model.state_dict())


def test_closing_and_opening_again(weights: Any, state: dict[str, Any]) -> None:
    """A tensor that is asked for after closing opens its file again."""
    weights.close()
    assert bits(weights["scalar"]) == bits(state["scalar"])


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    """What is read is what the headers were read of, or an error."""
    from shardctl.torch import open as open_state

    path = save({"w": torch.ones(5)}, tmp_path / "m.safetensors")
    weights = open_state(path)
    save({"w": torch.zeros(5)}, path)
    with pytest.raises(shardctl.SourceChangedError):
        weights["w"]


INDEXES: list[Any] = [
    ...,
    0,
    -1,
    slice(None),
    slice(1, 4, 2),
    slice(-3, None),
    slice(4, 1),
    (slice(1, 3), slice(None, None, 3)),
    (..., 2),
    (2, ..., slice(1, 5)),
    (slice(2, 100),),
    (),
    (1, 2),
]


@pytest.mark.parametrize("index", INDEXES, ids=str)
@pytest.mark.parametrize("name", ["tied.a", "strided.columns", "strided.transposed"])
def test_slices_are_torchs(index: Any, name: str, weights: Any, state: dict[str, Any]) -> None:
    """An index expression selects what it selects of a tensor."""
    part, expected = weights.get_slice(name), state[name][index]
    assert part.shape == state[name].shape
    assert part.dtype == state[name].dtype
    found = part[index]
    assert found.shape == expected.shape
    assert bits(found) == bits(expected)


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (99, IndexError),
        ((0, 0, 0), IndexError),
        ((..., 0, ...), IndexError),
        (True, TypeError),
        (None, TypeError),
        ("a", TypeError),
        ([0, 1], TypeError),
        (slice(None, None, -1), ValueError),
    ],
    ids=str,
)
def test_what_is_not_an_index(index: Any, error: type[Exception], weights: Any) -> None:
    """It is refused by the kind of error that a list or a tensor raises."""
    with pytest.raises(error):
        weights.get_slice("tied.a")[index]


def test_a_slice_reads_only_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a large tensor are read as one range, and a column without what lies between."""
    from shardctl.stores.local_files import LocalReader
    from shardctl.torch import open as open_state

    state = {"w": torch.arange(100 * 5000, dtype=torch.float32).view(100, 5000)}
    with open_state(save(state, tmp_path / "m.safetensors")) as weights:
        part = weights.get_slice("w")
        read = 0
        real, real_into = LocalReader.read, LocalReader.read_into

        def counted(reader: LocalReader, offset: int, length: int) -> bytes:
            nonlocal read
            read += length
            return real(reader, offset, length)

        def counted_into(reader: LocalReader, offset: int, memory: memoryview) -> None:
            nonlocal read
            read += len(memory)
            real_into(reader, offset, memory)

        monkeypatch.setattr(LocalReader, "read", counted)
        monkeypatch.setattr(LocalReader, "read_into", counted_into)
        assert torch.equal(part[3:5], state["w"][3:5])
        assert read == 2 * 5000 * 4
        read = 0
        assert torch.equal(part[:, 7:9], state["w"][:, 7:9])
        assert read == 100 * 2 * 4


def test_a_type_that_torch_lacks_is_named(tmp_path: Path) -> None:
    """An element type without a counterpart is refused when the tensor is asked for."""
    from shardctl.testing.builders import safetensors_bytes
    from shardctl.torch import open as open_state

    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes({"w": ("F6_E2M3", [4], bytes(3))}))
    with open_state(path) as weights, pytest.raises(shardctl.InputError, match="F6_E2M3"):
        weights["w"]


def test_elements_of_half_a_byte_come_back(tmp_path: Path) -> None:
    """Torch counts them in pairs; a part of such a tensor cannot be taken."""
    from shardctl.torch import open as open_state
    from shardctl.torch import save_sharded

    if not hasattr(torch, "float4_e2m1fn_x2"):
        pytest.skip("this torch has no such type")
    tensor = torch.arange(12, dtype=torch.uint8).view(torch.float4_e2m1fn_x2).view(3, 4)
    for name in ("safetensors", "bin"):
        save_sharded({"w": tensor}, tmp_path / name, format=name)
        with open_state(tmp_path / name) as weights:
            assert weights["w"].dtype == tensor.dtype
            assert torch.equal(weights["w"].view(torch.uint8), tensor.view(torch.uint8))
            with pytest.raises(ValueError, match="less than a byte"):
                weights.get_slice("w")[0]
