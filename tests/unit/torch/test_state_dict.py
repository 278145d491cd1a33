"""A checkpoint as a lazy mapping, and slices that read only their bytes."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
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


def test_copies_read_the_same(weights: Any, state: dict[str, Any]) -> None:
    """It can be copied, and pickled for another process."""
    weights["scalar"]
    for twin in (copy.deepcopy(weights), pickle.loads(pickle.dumps(weights))):
        weights.close()
        assert_equal(dict(twin), state)
        twin.close()


def test_closing_while_it_is_read(weights: Any, state: dict[str, Any]) -> None:
    """No read fails, or gets the bytes of another file that was opened meanwhile."""
    names = list(state) * 20
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda name: bits(weights[name]), names)
        for _ in range(100):
            weights.close()
        assert list(found) == [bits(state[name]) for name in names]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, to count open files")
def test_no_file_stays_open_after_it(tmp_path: Path) -> None:
    """One that is never closed closes its files when it is gone."""
    from shardctl.torch import open as open_state

    path = save({"w": torch.ones(5)}, tmp_path / "m.safetensors")

    def open_files() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    assert [float(open_state(path)["w"][0]) for _ in range(5)] == [1.0] * 5
    assert open_files() == before


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    """What is read is what the headers were read of, or an error."""
    from shardctl.torch import open as open_state

    path = save({"w": torch.ones(5)}, tmp_path / "m.safetensors")
    weights = open_state(path)
    save({"w": torch.zeros(5)}, path)
    with pytest.raises(shardctl.SourceChangedError):
        weights["w"]


def test_a_type_that_torch_lacks_is_named(tmp_path: Path) -> None:
    """An element type without a counterpart is refused when the tensor is asked for."""
    from shardctl.testing.builders import safetensors_bytes
    from shardctl.torch import open as open_state

    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes({"w": ("F6_E2M3", [4], bytes(3))}))
    with open_state(path) as weights, pytest.raises(shardctl.InputError, match="F6_E2M3"):
        weights["w"]


def test_elements_of_half_a_byte_come_back(tmp_path: Path) -> None:
    """Torch counts them in pairs, and so does an index."""
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
            part = weights.get_slice("w")[1:, 2]
            assert part.dtype == tensor.dtype
            assert part.view(torch.uint8).tolist() == [6, 10]
