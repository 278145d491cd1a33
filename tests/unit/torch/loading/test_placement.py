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


@pytest.mark.parametrize("how", ["disk", "assigned", "by torch", "a part"])
def test_what_is_loaded_later_counts(saved: tuple[Any, Path], tmp_path: Path, how: str) -> None:
    """Tensors that take the place of those on disk are not read over when they are used."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded

    model, directory = saved
    other, later = net(), net()
    load_sharded_checkpoint(other, directory, device_map={"": "disk"})
    batch = torch.randn(2, 5)
    assert torch.equal(other(batch), model(batch))
    state = later.state_dict()
    if how == "a part":
        state = {name: state[name] for name in state if name.startswith("1.")}
        later = net()
        later.load_state_dict({**model.state_dict(), **state})
    if how == "by torch":
        other.load_state_dict(state, assign=True)
    else:
        save_sharded(state, tmp_path / "later")
        device_map = {"": "cpu" if how == "assigned" else "disk"}
        load_sharded_checkpoint(
            other, tmp_path / "later", device_map=device_map, strict=how != "a part"
        )
    for _ in range(2):
        assert torch.equal(other(batch), later(batch))


def test_modules_within_one_another_that_use_the_same_tensor(tmp_path: Path) -> None:
    """The inner one leaves what the outer one has read, and goes on to use."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded

    class Inner(torch.nn.Module):  # type: ignore[misc, name-defined] # (as below)
        def __init__(self, shared: Any) -> None:
            super().__init__()
            self.shared = shared

        def forward(self, batch: Any) -> Any:
            return batch * self.shared[0]

    class Outer(torch.nn.Module):  # type: ignore[misc, name-defined] # (as below)
        def __init__(self) -> None:
            super().__init__()
            self.shared = torch.nn.ParameterList([torch.randn(5)])
            self.inner = Inner(self.shared)

        def forward(self, batch: Any) -> Any:
            return self.inner(batch) + self.shared[0]

    model, other = Outer(), Outer()
    save_sharded(model, tmp_path / "m")
    load_sharded_checkpoint(other, tmp_path / "m", device_map={"": "disk"})
    batch = torch.randn(2, 5)
    for _ in range(2):
        assert torch.equal(other(batch), model(batch))
        assert other.shared[0].is_meta


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
