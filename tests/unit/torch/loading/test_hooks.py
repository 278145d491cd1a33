"""Modules that change a state dict before they take it, and extra state: as torch loads them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import shardctl
from tests.support.state_dicts import assert_equal, save

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")


def old_weight_norm() -> Any:
    """A layer with the names of torch's first weight normalisation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.nn.utils.weight_norm(torch.nn.Linear(3, 4))


def new_weight_norm() -> Any:
    """A layer whose hook gives those names new ones."""
    return torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 4))


@pytest.mark.parametrize("assign", [False, True])
def test_a_hook_renames_tensors(assign: bool, tmp_path: Path) -> None:
    """Names of an old version are those of the new one, also below a prefix."""
    from shardctl.torch import load_sharded_checkpoint

    old, new = old_weight_norm(), torch.nn.ModuleDict({"a": new_weight_norm()})
    state = {f"a.{name}": each for name, each in old.state_dict().items()}
    path = save(state, tmp_path / "m.safetensors")
    assert load_sharded_checkpoint(new, path, assign=assign) == ([], [])
    assert torch.equal(new["a"].parametrizations.weight.original1, old.weight_v)
    assert torch.equal(new["a"].parametrizations.weight.original0, old.weight_g)


@pytest.mark.parametrize("meta", [False, True])
def test_a_module_adds_what_old_files_lack(meta: bool, tmp_path: Path) -> None:
    """A counter that batch normalisation once did not have stays as it is, or begins at zero."""
    from shardctl.torch import load_sharded_checkpoint

    state = torch.nn.BatchNorm1d(3).state_dict()
    del state["num_batches_tracked"]
    path = save(state, tmp_path / "m.safetensors")
    with torch.device("meta" if meta else "cpu"):
        norm = torch.nn.BatchNorm1d(3)
    norm.num_batches_tracked.fill_(7)
    assert load_sharded_checkpoint(norm, path, assign=meta) == ([], [])
    assert norm.num_batches_tracked == (0 if meta else 7)
    assert norm.running_var.tolist() == [1, 1, 1]


class Frozen(torch.nn.Module):  # type: ignore[misc, name-defined] # torch is optional here
    """Leaves out a tensor of old files, supplies a new one, and tries to change itself at once."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))
        self.scale = torch.nn.Parameter(torch.zeros(1))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        state_dict.pop(f"{prefix}old", None)
        state_dict[f"{prefix}scale"] = torch.ones(1)
        self.weight = torch.nn.Parameter(torch.ones(3))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def test_a_method_of_the_module_decides(tmp_path: Path) -> None:
    """What it leaves out is not unexpected, what it supplies is loaded."""
    from shardctl.torch import MismatchError, load_sharded_checkpoint

    path = save({"0.weight": torch.full((3,), 5.0), "0.old": torch.ones(1)}, tmp_path / "m.bin")
    model = torch.nn.Sequential(Frozen())
    before = model[0].weight
    assert load_sharded_checkpoint(model, path) == ([], [])
    assert model[0].weight is before
    assert model[0].weight.tolist() == [5, 5, 5]
    assert model[0].scale.item() == 1
    both = torch.nn.Sequential(Frozen(), torch.nn.Linear(1, 1))
    with pytest.raises(
        MismatchError, match=r'Missing key\(s\) in state_dict: "1.weight", "1.bias"'
    ):
        load_sharded_checkpoint(both, path)
    assert both[0].weight.tolist() == [0, 0, 0]


class Computing(torch.nn.Linear):  # type: ignore[misc, name-defined] # torch is optional here
    """Keeps its weight transposed in files."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size)
        self.register_load_state_dict_pre_hook(Computing.turn)

    @staticmethod
    def turn(_: Any, state: Any, prefix: str, *__: Any) -> None:
        state[f"{prefix}weight"] = state[f"{prefix}weight"].t()


def test_what_a_hook_would_compute_is_refused_by_name(tmp_path: Path) -> None:
    """Its values are not in the file; torch, to which the hint leads, reads and computes them."""
    import shardctl.torch as library

    path = save(Computing(2).state_dict(), tmp_path / "m.safetensors")
    model = Computing(2)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    with pytest.raises(shardctl.UsageError, match="'weight' is computed by the model") as caught:
        library.load_sharded_checkpoint(model, path)
    assert "`shardctl.torch.open(…)`" in caught.value.hint
    assert_equal(model.state_dict(), before)
    model.load_state_dict(library.open(path))
    assert torch.equal(model.weight, library.open(path)["weight"].t())


def test_what_a_hook_says_is_part_of_the_error(tmp_path: Path) -> None:
    """A hook can refuse a checkpoint, in its own words."""
    from shardctl.torch import MismatchError, load_sharded_checkpoint

    model = torch.nn.Linear(2, 2)

    def refuse(*given: Any) -> None:
        given[-1].append("weights of another planet")

    model.register_load_state_dict_pre_hook(refuse)
    path = save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(MismatchError, match="weights of another planet"):
        load_sharded_checkpoint(model, path)


class Stateful(torch.nn.Linear):  # type: ignore[misc, name-defined] # torch is optional here
    """Has extra state that is a tensor."""

    extra = torch.zeros(2)

    def get_extra_state(self) -> Any:
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        self.extra = state


def test_extra_state_is_saved_and_set(tmp_path: Path) -> None:
    """Where it is a tensor; where the checkpoint has none it is missing, as for torch."""
    from shardctl.torch import MismatchError, load_sharded_checkpoint, save_sharded

    model, twin = (torch.nn.Sequential(Stateful(2, 2)) for _ in range(2))
    model[0].extra = torch.tensor([3.0, 4.0])
    save_sharded(model, tmp_path / "m")
    assert load_sharded_checkpoint(twin, tmp_path / "m") == ([], [])
    assert twin[0].extra.tolist() == [3, 4]
    bare = {name: each for name, each in model.state_dict().items() if "extra" not in name}
    with pytest.raises(MismatchError, match=r'Missing key\(s\) in state_dict: "0\._extra_state"'):
        load_sharded_checkpoint(twin, save(bare, tmp_path / "bare.safetensors"))


def test_hooks_for_the_time_after_a_load_are_called(tmp_path: Path) -> None:
    """Inner modules first, each with the keys that do not fit."""
    from shardctl.torch import load_sharded_checkpoint

    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    path = save(model.state_dict(), tmp_path / "m.safetensors")
    called: list[Any] = []
    for module in (model, model[0]):
        module.register_load_state_dict_post_hook(
            lambda module, keys: called.append((module, keys.missing_keys, keys.unexpected_keys))
        )
    load_sharded_checkpoint(model, path)
    assert called == [(model[0], [], []), (model, [], [])]


def test_many_modules_with_hooks_take_linear_time(tmp_path: Path) -> None:
    """Each looks at the tensors below it alone, where torch looks at all of them for each."""
    from shardctl.torch import load_sharded_checkpoint
    from shardctl.torch.loading import hooks

    looked = 0

    class Counting(hooks._Names):
        def _prefixes(self, name: str) -> Any:
            nonlocal looked
            looked += 1
            return super()._prefixes(name)

    model = torch.nn.Sequential(*(torch.nn.BatchNorm1d(1) for _ in range(200)))
    path = save(model.state_dict(), tmp_path / "m.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hooks, "_Names", Counting)
        assert load_sharded_checkpoint(model, path) == ([], [])
    assert looked == 3 * 200 * 5
