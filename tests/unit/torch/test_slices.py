"""Parts of tensors: index expressions select what they select of a tensor, and read only that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import shardctl
from shardctl.testing.memory import MemoryStore
from tests.support.pipelines import tree
from tests.support.state_dicts import bits, random_state_dict, save

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")
pytest.importorskip("safetensors")

from tests.support.dcp_files import Slice, Whole, put_dcp  # noqa: E402 - it imports torch


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


def test_integers_of_other_libraries(weights: Any) -> None:
    """Scalars of torch and numpy are integers as Python's are."""
    part = weights.get_slice("tied.a")
    assert torch.equal(part[torch.tensor(1)], part[1])
    assert torch.equal(part[numpy.int8(-1), numpy.array(0)], part[-1, 0])


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
        (torch.tensor(True), TypeError),
        (torch.tensor([0]), TypeError),
        (torch.tensor(1.0), TypeError),
        (numpy.array([0]), TypeError),
        (numpy.array(True), TypeError),
        ((0, 0, None), TypeError),
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
    from shardctl.stores.local.files import LocalReader
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


@pytest.fixture
def sliced(tmp_path: Path) -> tuple[Any, Path]:
    """A tensor, and a distributed checkpoint whose four ranks have a quarter of it each."""
    whole = torch.arange(60, dtype=torch.float32).view(10, 6)
    slices = tuple(
        Slice((row, column), whole[row : row + 5, column : column + 3].clone(), rank)
        for rank, (row, column) in enumerate(((0, 0), (0, 3), (5, 0), (5, 3)))
    )
    store = MemoryStore()
    put_dcp(store, "d", {"w": Whole((10, 6), slices)})
    for name, data in tree(store, "d").items():
        (tmp_path / name).write_bytes(data)
    return whole, tmp_path


@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_slices_of_what_is_put_together(index: Any, sliced: tuple[Any, Path]) -> None:
    """A tensor that lies in the files of several ranks has the same parts."""
    from shardctl.torch import open as open_state

    whole, directory = sliced
    with open_state(directory) as weights:
        assert torch.equal(weights.get_slice("w")[index], whole[index])


def test_a_part_of_one_rank_needs_no_other(sliced: tuple[Any, Path]) -> None:
    """The files of the ranks that hold nothing of a part are not read."""
    from shardctl.torch import open as open_state

    whole, directory = sliced
    with open_state(directory) as weights:
        for rank in (0, 1, 2):
            (directory / f"__{rank}_0.distcp").unlink()
        assert torch.equal(weights.get_slice("w")[6:9, 4], whole[6:9, 4])
        with pytest.raises(shardctl.ShardctlError):
            weights.get_slice("w")[4:6, 4]
