"""Where tensors go: devices by prefixes, and modules that read their tensors at use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import shardctl
from tests.support.state_dicts import assert_equal

torch = pytest.importorskip("torch")


def net() -> Any:
    """Three layers, the last tied to the first."""
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 5), torch.nn.Linear(5, 5), torch.nn.Linear(5, 5, bias=False)
    )
    model[2].weight = model[0].weight
    return model


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Any, Path]:
    """A net, and a directory with its weights."""
    from shardctl.torch import save_sharded

    model = net()
    save_sharded(model, tmp_path / "m", num_shards=2, format="bin")
    return model, tmp_path / "m"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b.weight", 1), ("a.bc.weight", 0), ("a.x", 0), ("c", None), ("exact.w", "cpu")],
)
def test_the_longest_prefix_of_whole_parts_counts(name: str, expected: object) -> None:
    """As in Accelerate's dictionaries: `a.b` is not a prefix of `a.bc`."""
    from shardctl.torch.loading.placement import device_of

    assert device_of(name, {"a": 0, "a.b": 1, "exact.w": "cpu"}) == expected
    assert device_of(name, {"": 7}) == 7


@pytest.mark.parametrize("meta", [False, True])
def test_tensors_on_disk_are_read_at_use(meta: bool, saved: tuple[Any, Path]) -> None:
    """Before and after its use a module has no data; its results are those of the model."""
    from shardctl.torch import load_sharded_checkpoint

    model, directory = saved
    with torch.device("meta" if meta else "cpu"):
        other = net()
    load_sharded_checkpoint(other, directory, device_map={"0": "cpu", "1": "disk", "2": "cpu"})
    assert other[2].weight is other[0].weight
    assert [other[at].weight.is_meta for at in range(3)] == [False, True, False]
    batch = torch.randn(3, 5)
    for _ in range(2):
        assert torch.equal(other(batch), model(batch))
        assert other[1].weight.is_meta
        assert other[1].bias.is_meta
    with pytest.raises(RuntimeError):
        other(torch.randn(3, 4))
    with pytest.raises(RuntimeError):
        other[1](torch.randn(3, 4))
    assert other[1].weight.is_meta


def test_all_of_a_model_on_disk(saved: tuple[Any, Path]) -> None:
    """Names and types can be changed on the way, as for what is loaded."""
    from shardctl.torch import load_sharded_checkpoint

    model, directory = saved
    wrapped = torch.nn.ModuleDict({"inner": net()})
    load_sharded_checkpoint(
        wrapped, directory, rename={"": "inner."}, device_map={"": "disk"}, dtype=torch.float64
    )
    assert all(each.is_meta and each.dtype == torch.float64 for each in wrapped.parameters())
    batch = torch.randn(2, 5)
    assert torch.allclose(wrapped["inner"](batch.double()), model(batch).double(), atol=1e-5)


def test_tensors_without_a_device_are_named(saved: tuple[Any, Path]) -> None:
    """A map has to cover the model."""
    from shardctl.torch import load_sharded_checkpoint

    model, directory = saved
    other = net()
    before = {name: each.clone() for name, each in other.state_dict().items()}
    with pytest.raises(shardctl.UsageError, match=r"no device for 1\.weight, 1\.bias$"):
        load_sharded_checkpoint(other, directory, device_map={"0": "cpu", "2": "cpu"})
    assert_equal(other.state_dict(), before)
    assert model is not other


class Lists(torch.nn.Module):  # type: ignore[misc, name-defined] # torch is optional here
    """Uses parameters of lists, which have no `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterList([torch.randn(5), torch.randn(5)])
        self.named = torch.nn.ModuleDict({"a": torch.nn.ParameterDict({"b": torch.randn(5)})})

    def forward(self, batch: Any) -> Any:
        return batch * self.weights[0] + self.weights[1] + self.named["a"]["b"]


@pytest.mark.parametrize(
    "make",
    [
        Lists,
        lambda: torch.nn.TransformerEncoderLayer(5, 1, 7),
        lambda: torch.nn.LSTM(5, 5),
        lambda: torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(5, 5)),
    ],
    ids=["lists", "attention", "recurrent", "parametrised"],
)
def test_modules_that_use_the_tensors_of_others(make: Any, tmp_path: Path) -> None:
    """Tensors on disk are there for whatever `forward` uses them."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded

    model, other = make().eval(), make().eval()
    save_sharded(model, tmp_path / "m")
    load_sharded_checkpoint(other, tmp_path / "m", device_map={"": "disk"})
    batch = torch.randn(2, 3, 5)
    expected, found = model(batch), other(batch)
    for one, two in zip(expected, found, strict=True):
        for each, its in zip(one, two, strict=True):
            assert torch.allclose(each, its, atol=1e-6)
    assert all(each.is_meta for each in other.parameters())
