"""Loading: into memory that is there, in the place of tensors without data, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shardctl
from shardctl.stores.optional import read_into
from tests.support.models import emptied
from tests.support.state_dicts import assert_equal, bits, save

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

FORMATS = ("safetensors", "bin")


def net(fill: float = 0.5) -> Any:
    """Two linear layers, a norm with counters, and a tied head."""
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 6, bias=False)
    )
    model.tied = torch.nn.Linear(4, 6, bias=False)
    model.tied.weight = model[2].weight
    model.register_buffer("scale", torch.full((3,), fill), persistent=False)
    for number, parameter in enumerate(model.parameters()):
        parameter.data.fill_(fill + number)
    return model


@pytest.fixture(params=FORMATS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory with the weights of a net, in three shards."""
    from shardctl.torch import save_sharded

    save_sharded(net(), tmp_path / "saved", num_shards=3, format=request.param)
    return tmp_path / "saved"


def test_weights_go_into_the_memory_that_is_there(saved: Path) -> None:
    """Parameters stay the objects that they were, where they were."""
    from shardctl.torch import load_sharded_checkpoint

    model = net(9.0)
    before = {name: (id(each), each.data_ptr()) for name, each in model.named_parameters()}
    missing, unexpected = load_sharded_checkpoint(model, saved)
    assert (missing, unexpected) == ([], [])
    assert_equal(model.state_dict(), net().state_dict())
    assert before == {name: (id(each), each.data_ptr()) for name, each in model.named_parameters()}
    assert model.scale[0] == 9.0


@pytest.mark.parametrize(
    "location", ["directory", "index", "single", "upstream"], ids=lambda name: name
)
def test_any_location_of_a_checkpoint(location: str, saved: Path, tmp_path: Path) -> None:
    """A directory, an index, a single file, and a file that an upstream library wrote."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded

    suffix = next(path.suffix for path in saved.iterdir() if path.suffix != ".json")
    path = {"directory": saved, "index": next(saved.glob("*.json"))}.get(location)
    if path is None:
        path = tmp_path / f"one{suffix}"
        if location == "single":
            save_sharded(net(), path, single=True, format=suffix.removeprefix("."))
        else:
            save(net().state_dict(), path)
    model = net(9.0)
    assert load_sharded_checkpoint(model, path) == ([], [])
    assert_equal(model.state_dict(), net().state_dict())


def test_models_without_data_get_new_tensors(saved: Path) -> None:
    """With `assign` ties stay, gradients are asked for as before, and types are the file's."""
    from shardctl.torch import load_sharded_checkpoint

    with torch.device("meta"):
        model = net()
    model[0].weight.requires_grad_(requires_grad=False)
    with pytest.raises(shardctl.UsageError, match=r"'0.weight' is on the meta device"):
        load_sharded_checkpoint(model, saved)
    with pytest.warns(UserWarning, match="no checkpoint holds it: scale"):
        load_sharded_checkpoint(model, saved, assign=True, dtype=torch.float16)
    assert model.tied.weight is model[2].weight
    assert not model[0].weight.requires_grad
    assert model[0].bias.requires_grad
    assert model[1].num_batches_tracked.dtype == torch.int64
    expected = {
        name: each.half() if each.is_floating_point() else each
        for name, each in net().state_dict().items()
    }
    assert_equal(model.state_dict(), expected)


def test_values_are_converted(saved: Path) -> None:
    """A parameter keeps its type and its strides, whatever the file has."""
    from shardctl.torch import load_sharded_checkpoint

    model = net(9.0).double()
    model[0].weight = torch.nn.Parameter(torch.zeros(6, 4, dtype=torch.bfloat16).t())
    load_sharded_checkpoint(model, saved)
    assert model[0].weight.stride() == (1, 4)
    assert torch.equal(model[0].weight, net()[0].weight.bfloat16())
    assert torch.equal(model[2].weight, net()[2].weight.double())


def test_what_does_not_fit_is_said_in_torchs_words(saved: Path) -> None:
    """All of it at once, as `load_state_dict` says it, and nothing is changed."""
    from shardctl.torch import MismatchError, load_sharded_checkpoint
    from shardctl.torch import open as open_state

    model = net(9.0)
    model[0] = torch.nn.Linear(7, 5)
    model.extra = torch.nn.Linear(2, 2)
    model[1] = torch.nn.Identity()
    before = {name: bits(each) for name, each in model.state_dict().items()}
    with open_state(saved) as weights, pytest.raises(RuntimeError) as theirs:
        emptied(model).load_state_dict(dict(weights))
    with pytest.raises(MismatchError) as ours:
        load_sharded_checkpoint(model, saved)
    # Names are in the order of the files in one, and of the model in the other.
    assert sorted(ours.value.message) == sorted(str(theirs.value))
    assert ours.value.message.splitlines()[0] == str(theirs.value).splitlines()[0]
    assert ours.value.missing_keys == ("extra.weight", "extra.bias")
    assert set(ours.value.mismatched) == {"0.weight", "0.bias"}
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight"):
        load_sharded_checkpoint(model, saved, strict=False)
    assert {name: bits(each) for name, each in model.state_dict().items()} == before


def test_without_strict_the_rest_is_loaded(saved: Path) -> None:
    """Missing and unexpected keys are returned."""
    from shardctl.torch import load_sharded_checkpoint

    model = net(9.0)
    model[1] = torch.nn.Identity()
    model.extra = torch.nn.Linear(1, 1)
    found = load_sharded_checkpoint(model, saved, strict=False)
    assert found.missing_keys == ["extra.weight", "extra.bias"]
    assert all(name.startswith("1.") for name in found.unexpected_keys)
    assert len(found.unexpected_keys) == 5
    assert torch.equal(model[0].weight, net()[0].weight)


@pytest.mark.parametrize("kept", ["2.weight", "tied.weight"])
def test_one_of_several_tied_names_is_enough(kept: str, tmp_path: Path) -> None:
    """A file that another library wrote with one name of tied weights fills all of them."""
    from shardctl.torch import load_sharded_checkpoint

    state = net().state_dict()
    del state["tied.weight" if kept == "2.weight" else "2.weight"]
    model = net(9.0)
    assert load_sharded_checkpoint(model, save(state, tmp_path / "m.safetensors")) == ([], [])
    assert_equal(model.state_dict(), net().state_dict())


def test_an_old_buffer_is_loaded_where_it_fits(tmp_path: Path) -> None:
    """A buffer that a state dict leaves out by now is neither missing nor unexpected."""
    from shardctl.torch import load_sharded_checkpoint

    for size, unexpected in ((3, []), (4, ["scale"])):
        state = {**net().state_dict(), "scale": torch.ones(size)}
        model = net(9.0)
        path = save(state, tmp_path / f"{size}.bin")
        found = load_sharded_checkpoint(model, path, strict=False)
        assert found == ([], unexpected)
        assert model.scale[0] == (9.0 if unexpected else 1.0)


def test_key_and_rename_choose_and_name_the_tensors(tmp_path: Path) -> None:
    """The state dict of a training checkpoint, under other prefixes, by a mapping or a function."""
    from shardctl.torch import load_sharded_checkpoint

    state = {f"module.{name}": each for name, each in net().state_dict().items()}
    torch.save({"model": {**state, "ema.x": torch.ones(1)}, "step": 3}, tmp_path / "train.pt")
    renames: list[Any] = [
        {"module.": "", "ema.": None},
        lambda name: name.partition(".")[2] if name.startswith("module.") else None,
    ]
    for rename in renames:
        model = net(9.0)
        load_sharded_checkpoint(model, tmp_path / "train.pt", key="model", rename=rename)
        assert_equal(model.state_dict(), net().state_dict())
    with pytest.raises(shardctl.UsageError, match="one name"):
        load_sharded_checkpoint(net(), tmp_path / "train.pt", key="model", rename=lambda _: "x")
    with pytest.raises(shardctl.InputError, match="nested state dicts"):
        load_sharded_checkpoint(net(), tmp_path / "train.pt")


@pytest.mark.parametrize(
    "settings",
    [
        {"device": "cpu"},
        {"dtype": torch.float16},
        {"assign": True, "dtype": torch.int8},
        {"assign": True, "dtype": "float16"},
        {"device": "cpu", "device_map": {"": "cpu"}},
        {"device_map": {"0": "cpu"}},
        {"device_map": {}},
        {"device_map": "auto"},
        {"rename": "0."},
        {"rename": len},
        {"jobs": 0},
    ],
    ids=str,
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], saved: Path) -> None:
    """They are refused before anything changes, as are those of a wrong kind."""
    from shardctl.torch import load_sharded_checkpoint

    model = net(9.0)
    with pytest.raises(shardctl.UsageError):
        load_sharded_checkpoint(model, saved, **settings)
    with pytest.raises(shardctl.UsageError, match="cannot load into a OrderedDict"):
        load_sharded_checkpoint(model.state_dict(), saved)
    assert_equal(model.state_dict(), net(9.0).state_dict())


def test_parameters_whose_elements_share_memory_are_refused(saved: Path) -> None:
    """They cannot be filled; with `assign` they get memory."""
    from shardctl.torch import load_sharded_checkpoint

    model = net(9.0)
    model[0].weight = torch.nn.Parameter(torch.zeros(4, 1).expand(4, 6))
    with pytest.raises(shardctl.UsageError, match=r"'0\.weight' has elements that share memory"):
        load_sharded_checkpoint(model, saved)
    load_sharded_checkpoint(model, saved, assign=True)
    assert_equal(model.state_dict(), net().state_dict())


def test_a_model_of_other_than_plain_tensors_is_refused(saved: Path) -> None:
    """By name, whatever is asked for: its tensors would not be what they were."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from shardctl.torch import load_sharded_checkpoint

    with FakeTensorMode():
        fake = net(9.0)
    lazy = net(9.0)
    lazy[0] = torch.nn.LazyLinear(4)
    for model, reason in ((fake, "not plain data"), (lazy, "no shape yet")):
        for assign in (False, True):
            with pytest.raises(shardctl.UsageError, match=rf"'0\.weight' .*{reason}"):
                load_sharded_checkpoint(model, saved, assign=assign)


def test_autograd_sees_that_weights_changed(saved: Path) -> None:
    """A graph that still needs the old weights is refused, and gives no wrong gradients."""
    from shardctl.torch import load_sharded_checkpoint

    model = net()
    loss = model[0](torch.ones(1, 6, requires_grad=True)).sum()
    load_sharded_checkpoint(model, saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_variant_is_chosen(tmp_path: Path) -> None:
    """Of several checkpoints in one directory the one that is named is read."""
    from shardctl.torch import load_sharded_checkpoint, save_sharded
    from shardctl.torch import open as open_state

    save_sharded(net(), tmp_path)
    save_sharded(net(3.0), tmp_path, variant="ema", num_shards=2)
    model = net(9.0)
    load_sharded_checkpoint(model, tmp_path, variant="ema")
    assert_equal(model.state_dict(), net(3.0).state_dict())
    for variant, value in (("ema", 3.0), (None, 0.5), ("", 0.5)):
        with open_state(tmp_path, variant=variant) as weights:
            assert weights["0.weight"][0, 0] == value
    with pytest.raises(shardctl.MissingError, match="int8"):
        open_state(tmp_path, variant="int8")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _gone(path: Path) -> None:
    path.unlink()


def _text(path: Path) -> None:
    path.write_text("<html>")


@pytest.mark.parametrize("damage", [_cut, _gone, _text])
def test_a_damaged_file_leaves_the_model_untouched(
    damage: Callable[[Path], None], saved: Path
) -> None:
    """Headers of all files are checked before the first tensor is read."""
    from shardctl.torch import load_sharded_checkpoint

    damage(max(path for path in saved.iterdir() if "-of-" in path.name))
    model = net(9.0)
    with pytest.raises(shardctl.InputError):
        load_sharded_checkpoint(model, saved)
    assert_equal(model.state_dict(), net(9.0).state_dict())


def _failing_reads(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let reads into memory fail after some of them."""
    count = 0

    def read(reader: Any, offset: int, memory: memoryview) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise shardctl.StorageError("the disk failed", hint="replace it", file=reader.path)
        read_into(reader, offset, memory)

    monkeypatch.setattr("shardctl.torch.loading.fill.read_into", read)


def test_a_read_that_fails_says_which_tensors_are_new(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have their old values; what may be changed in part is named too."""
    from shardctl.torch import PartlyLoadedError, load_sharded_checkpoint

    model = net(9.0)
    old, new = net(9.0).state_dict(), net().state_dict()
    _failing_reads(monkeypatch, after=3)
    with pytest.raises(PartlyLoadedError) as caught:
        load_sharded_checkpoint(model, saved, jobs=1)
    error = caught.value
    assert len(error.loaded) == 3
    assert len(error.partial) == 1
    assert "the disk failed; 3 of 8 tensors are new" in error.message
    for name, each in model.state_dict().items():
        if name in error.loaded:
            assert bits(each) == bits(new[name])
        elif name not in error.partial and name != "tied.weight":
            assert bits(each) == bits(old[name])


def test_a_read_that_fails_for_new_tensors_leaves_the_old_ones(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `assign` the model changes when all is read."""
    from shardctl.torch import load_sharded_checkpoint

    model = net(9.0)
    _failing_reads(monkeypatch, after=3)
    with pytest.raises(shardctl.StorageError, match="the disk failed"):
        load_sharded_checkpoint(model, saved, assign=True, jobs=1)
    assert_equal(model.state_dict(), net(9.0).state_dict())


def test_no_pickle_is_executed(tmp_path: Path) -> None:
    """Of a file whose pickle would run something the tensors are read, and nothing runs."""
    from shardctl.torch import load_sharded_checkpoint

    class Loud:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value] # what runs

    torch.save({**net().state_dict(), "loud": Loud()}, tmp_path / "m.bin")
    model = net(9.0)
    load_sharded_checkpoint(model, tmp_path / "m.bin")
    assert_equal(model.state_dict(), net().state_dict())
    assert not (tmp_path / "ran").exists()
