"""Tensors that lie in the files of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import shardctl
from tests.support.models import emptied, random_model
from tests.support.state_dicts import assert_equal, bits

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")


def without_data(model: Any) -> Any:
    """A model of the same structure, on the meta device."""
    from shardctl.torch.loading.places import places_of

    bare = emptied(model)
    for place in places_of(bare):
        place.replace(torch.empty_like(place.tensor, device="meta"))
    return bare


@pytest.mark.filterwarnings("ignore:stays on the meta device")
@pytest.mark.parametrize("name", ["safetensors", "bin"])
@pytest.mark.parametrize("seed", range(8))
def test_models_are_those_that_are_read(name: str, seed: int, tmp_path: Path) -> None:
    """All types, ties, views and strides; and they can be saved again, over their own files."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded

    model = random_model(seed)
    save_sharded(model, tmp_path / "m", max_shard_size=100, format=name)
    bare = without_data(model)
    assert load_sharded_checkpoint(bare, tmp_path / "m", assign=True, mmap=True) == ([], [])
    assert_equal(bare.state_dict(), model.state_dict())
    save_sharded(bare, tmp_path / "m", num_shards=1, format=name, replace="same", order="natural")
    assert_equal(bare.state_dict(), model.state_dict())
    again = emptied(model)
    load_sharded_checkpoint(again, tmp_path / "m")
    assert_equal(again.state_dict(), model.state_dict())


def test_nothing_is_read_but_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mapped is not read; what gets another type is."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded
    from shardctl.torch.loading import fill

    save_sharded(torch.nn.Linear(4, 4), tmp_path / "m")
    monkeypatch.setattr(fill, "read_into", None)
    with torch.device("meta"):
        model = torch.nn.Linear(4, 4)
    load_sharded_checkpoint(model, tmp_path / "m", assign=True, mmap=True)
    assert model.weight.untyped_storage().nbytes() == 64
    with pytest.raises(TypeError):
        load_sharded_checkpoint(model, tmp_path / "m", assign=True, mmap=True, dtype=torch.float16)


def test_what_is_written_never_reaches_the_file(tmp_path: Path) -> None:
    """Nor another tensor that had the same bytes in the file."""
    from shardctl.torch import load_sharded_checkpoint

    shared = torch.ones(1000)
    torch.save({"weight": shared.view(1, 1000), "bias": shared[:1]}, tmp_path / "m.bin")
    before = (tmp_path / "m.bin").read_bytes()
    model = torch.nn.Linear(1000, 1)
    load_sharded_checkpoint(model, tmp_path / "m.bin", assign=True, mmap=True)
    model.weight.data.fill_(2)
    assert bits(model.bias) == bits(torch.ones(1))
    assert (tmp_path / "m.bin").read_bytes() == before


def test_a_model_in_memory_is_not_mapped(tmp_path: Path) -> None:
    """Its tensors are filled, which is refused together with `mmap`."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded

    model = torch.nn.Linear(2, 2)
    save_sharded(model, tmp_path / "m")
    with pytest.raises(shardctl.UsageError, match="`mmap`") as caught:
        load_sharded_checkpoint(model, tmp_path / "m", mmap=True)
    assert caught.value.hint == "add `assign=True`"


def test_another_file_of_the_name_is_not_mapped(tmp_path: Path) -> None:
    """A file that was replaced after its header was read is an error."""
    from shardctl.torch import save_sharded
    from shardctl.torch.loading.mapped import MappedFiles
    from shardctl.torch.opened import read_headers

    save_sharded(torch.nn.Linear(2, 2), tmp_path / "m.safetensors", single=True)
    opened = read_headers(tmp_path / "m.safetensors", None)
    save_sharded(torch.nn.Linear(2, 2), tmp_path / "m.safetensors", single=True, replace="same")
    with pytest.raises(shardctl.SourceChangedError):
        MappedFiles(opened).tensor(opened.tensors["weight"])
