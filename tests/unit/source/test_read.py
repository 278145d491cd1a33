"""Which files SOURCE means, and which tensors of them: choices, sets, nesting, aliases."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shardctl.errors import InputError, MissingError, ShardctlError, UsageError
from shardctl.findings import Finding, strict
from shardctl.model import DTYPES, Extent, NonTensor, Storage, Tensor, Tree
from shardctl.source.locate import find_source
from shardctl.source.read import read_checkpoint
from shardctl.source.state_dict import flatten, select, state_dict_keys
from shardctl.stores.local.store import LocalStore
from tests.support.shard_files import INDEX, A, B, put, put_index, put_sharded

STORE = LocalStore()


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A directory with a sound checkpoint of two shards."""
    return put_sharded(tmp_path)


def _names(paths: tuple[str, ...]) -> list[str]:
    return [Path(path).name for path in paths]


def test_a_partial_index_is_an_error(sharded: Path) -> None:
    """Where the last shard and its entries are gone, writers refuse the set."""
    (sharded / B).unlink()
    put_index(sharded, {"a": A})
    with pytest.raises(InputError) as caught:
        read_checkpoint(STORE, find_source(STORE, str(sharded)), strict)
    assert caught.value.code == "shard-set-incomplete"
    assert "number 2 is neither listed nor there" in caught.value.message


def test_a_set_of_two_formats_is_refused(sharded: Path) -> None:
    """Files of two formats are not one checkpoint, though their names make them a set."""
    torch.save({"b": torch.ones(2)}, sharded / B)
    with pytest.raises(ShardctlError, match="of the same set is not") as caught:
        read_checkpoint(STORE, find_source(STORE, str(sharded)), strict)
    assert caught.value.file == str(sharded / B)


def test_the_format_of_a_set_without_files(sharded: Path) -> None:
    """Where no file of a set is there, its format is the one that the names promise."""
    for name in (A, B):
        (sharded / name).unlink()
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(sharded)), lambda _: None)
    assert checkpoint.format == "safetensors"


def test_a_set_without_an_index_is_read(tmp_path: Path) -> None:
    """Numbered files without an index are a checkpoint, with a warning."""
    put(tmp_path, A, "a")
    put(tmp_path, B, "b")
    located = find_source(STORE, str(tmp_path))
    findings: list[Finding] = []
    checkpoint = read_checkpoint(STORE, located, findings.append)
    assert [tensor.name for tensor in checkpoint.tensors] == ["a", "b"]
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("index-missing", "warning")
    ]


def test_the_links_of_the_hubs_cache_are_followed(
    sharded: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A directory whose entries are links to regular files is read like any other."""
    snapshot = tmp_path_factory.mktemp("snapshot")
    for name in (A, B, INDEX):
        (snapshot / name).symlink_to(sharded / name)
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(snapshot)), strict)
    assert [tensor.name for tensor in checkpoint.tensors] == ["a", "b"]


def test_a_shard_in_a_directory_of_its_own_is_read(tmp_path: Path) -> None:
    """An index may list shards in directories below its own."""
    put(tmp_path, "sub/x.safetensors", "a")
    put_index(tmp_path, {"a": "sub/x.safetensors"})
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), strict)
    assert [tensor.name for tensor in checkpoint.tensors] == ["a"]


def _tensor(name: str) -> Tensor:
    return Tensor(name, DTYPES["F32"], (1,), Storage(Extent("f", 0, 4), name))


def _choose(tree: Tree, key: str | None = None, *, drop: bool = False) -> list[str]:
    return [tensor.name for tensor in select(tree, "f", key, drop_non_tensors=drop).tensors]


STEP = NonTensor("step", "builtins.int")


def _nested() -> Tree:
    return {
        "step": STEP,
        "model": {"w": _tensor("w"), "ema": {"w": _tensor("w")}},
        "opt": {"lr": STEP},
    }


def test_a_flat_file_is_taken_as_it_is() -> None:
    """Without a key the root's tensors are taken, also where there are none."""
    assert _choose({"a.b": _tensor("a.b"), "c": _tensor("c")}) == ["a.b", "c"]
    assert _choose({}) == []


def test_a_key_reaches_a_nested_state_dict() -> None:
    """A key is a name or a path of names, and its tensors have the names that they have there."""
    assert _choose(_nested(), "model.ema") == ["w"]
    assert _choose({"model.ema": {"x": _tensor("model.ema.x")}}, "model.ema") == ["x"]


@pytest.mark.parametrize(
    ("tree", "key", "error", "words"),
    [
        (_nested(), None, InputError, ["`key`: model, model.ema"]),
        (_nested(), "nothing", MissingError, ["`key`: model"]),
        (_nested(), "step", MissingError, ["`key`: model"]),
        (
            _nested(),
            "model",
            InputError,
            ["state dicts beside its tensors: ema", "`key`: model.ema"],
        ),
        (_nested(), "opt", InputError, ["lr (builtins.int)"]),
        ({"a": _tensor("a")}, "model", MissingError, ["leave out `key`"]),
        (
            {"a": _tensor("a"), "st\nep": STEP},
            None,
            InputError,
            ["st\\nep (builtins.int)", "`drop_non_tensors`"],
        ),
        (
            {"a.b": {"w": _tensor("w")}, "a": {"b": {"w": _tensor("w")}}},
            "a.b",
            UsageError,
            ["two meanings"],
        ),
    ],
)
def test_what_cannot_be_chosen_says_what_can(
    tree: Tree, key: str | None, error: type[ShardctlError], words: list[str]
) -> None:
    """An error about nesting lists the keys to use, or what is in the way."""
    with pytest.raises(error) as caught:
        _choose(tree, key)
    for word in words:
        assert word in caught.value.message + " " + caught.value.hint
    assert caught.value.file == "f"


def test_non_tensors_are_dropped_when_asked() -> None:
    """With the option, what holds no tensors is left out and remembered; nested state dicts are
    still an error.
    """
    tree: Tree = {"w": _tensor("w"), "step": STEP, "config": {"lr": STEP}}
    chosen = select(tree, "f", None, drop_non_tensors=True)
    assert [tensor.name for tensor in chosen.tensors] == ["w"]
    assert chosen.non_tensors == (STEP, NonTensor("config", "dict"))
    for key in (None, "model"):
        with pytest.raises(InputError):
            _choose(_nested(), key, drop=True)


def test_everything_can_be_shown() -> None:
    """For looking, all tensors of a nested file have dotted names."""
    everything = flatten(_nested())
    assert [tensor.name for tensor in everything.tensors] == ["model.w", "model.ema.w"]
    assert [opaque.name for opaque in everything.non_tensors] == ["step", "opt.lr"]
    assert state_dict_keys(_nested()) == ["model", "model.ema"]


def test_a_deeply_nested_file_is_read() -> None:
    """Depth does not end in a recursion error."""
    tree: Tree = {"w": _tensor("w")}
    for _ in range(5000):
        tree = {"a": tree}
    assert len(flatten(tree).tensors) == 1


def test_a_training_checkpoint_of_torch_is_reached_by_its_key(tmp_path: Path) -> None:
    """The weights of a file that torch saved for training are found under their key."""
    path = tmp_path / "last.pt"
    torch.save(
        {"step": 3, "model_state": {"w": torch.ones(2)}, "optimizer_state": {"lr": 0.1}}, path
    )
    located = find_source(STORE, str(path))
    with pytest.raises(InputError) as caught:
        read_checkpoint(STORE, located, strict)
    assert "`key`: model_state" in caught.value.hint
    assert [
        tensor.name for tensor in read_checkpoint(STORE, located, strict, "model_state").tensors
    ] == ["w"]
    shown = read_checkpoint(STORE, located, strict, nested=True)
    assert [tensor.name for tensor in shown.tensors] == ["model_state.w"]


def test_a_bare_name_is_found_in_the_current_directory(
    sharded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SOURCE may be a name without a directory, or a dot for the current one."""
    monkeypatch.chdir(sharded)
    assert _names(find_source(STORE, A).files) == [A, B]
    assert _names(find_source(STORE, INDEX).files) == [A, B]
    assert _names(find_source(STORE, ".").files) == [A, B]
