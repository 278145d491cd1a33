"""Which files SOURCE means, and which tensors of them: choices, sets, nesting, aliases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shardctl.errors import InputError, MissingError, ShardctlError, UsageError
from shardctl.findings import Finding, noting, strict
from shardctl.model import DTYPES, Extent, NonTensor, Storage, Tensor, Tree
from shardctl.source.directory.candidates import candidates
from shardctl.source.locate import directory_checkpoints, find_source
from shardctl.source.read import read_checkpoint
from shardctl.source.state_dict import flatten, select, state_dict_keys
from shardctl.stores.local.store import LocalStore

STORE = LocalStore()
A, B = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def put(directory: Path, name: str, *tensors: str, **metadata: str) -> Path:
    """A safetensors file with small tensors of those names."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({tensor: torch.ones(2) for tensor in tensors}, path, metadata or {"format": "pt"})
    return path


def put_index(
    directory: Path, weight_map: dict[str, str], name: str = INDEX, **metadata: object
) -> Path:
    """An index file."""
    path = directory / name
    path.write_text(
        json.dumps({"metadata": {"total_size": 8, **metadata}, "weight_map": weight_map})
    )
    return path


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A directory with a sound checkpoint of two shards."""
    put(tmp_path, A, "a")
    put(tmp_path, B, "b")
    put_index(tmp_path, {"a": A, "b": B})
    return tmp_path


def _names(paths: tuple[str, ...]) -> list[str]:
    return [Path(path).name for path in paths]


# -- by name --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "choices"),
    [
        (["config.json", "model.safetensors"], ["model.safetensors"]),
        ([A, B], [A]),
        ([A, B, INDEX], [INDEX]),
        ([A, B, INDEX, "model.safetensors"], [INDEX, "model.safetensors"]),
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors", "pytorch_model.bin"]),
        (
            ["model.safetensors", "model.fp16.safetensors"],
            ["model.safetensors", "model.fp16.safetensors"],
        ),
        ([A, B, "model-00001-of-00003.safetensors"], [A, "model-00001-of-00003.safetensors"]),
        (
            ["model.safetensors", "optimizer.bin", "training_args.bin", "scaler.pt"],
            ["model.safetensors"],
        ),
        (["consolidated.00.pth", "consolidated.01.pth"], ["consolidated.00.pth"]),
        (
            ["model.fp16-00001-of-00001.safetensors", "model.safetensors.index.fp16.json"],
            ["model.safetensors.index.fp16.json"],
        ),
        (["__0_0.distcp", ".metadata", "model.safetensors"], [".metadata", "model.safetensors"]),
        (["__0_0.distcp"], ["__0_0.distcp"]),
        ([".metadata"], []),
        ([], []),
    ],
)
def test_names_make_candidates(names: list[str], choices: list[str]) -> None:
    """Files that are numbered alike are one candidate with their index; everything else is
    another.
    """
    assert [candidate.choice for candidate in candidates(names, lambda _: None)] == choices


def test_the_numbers_that_a_set_lacks_are_known() -> None:
    """A numbered set without an index knows which numbers are missing, whether it counts from 1 or
    from 0.
    """
    assert candidates(["model-00002-of-00003.bin"], lambda _: None)[0].missing == (1, 3)
    assert candidates(["model-00000-of-00002.bin"], lambda _: None)[0].missing == (1,)
    assert candidates(["consolidated.00.pth", "consolidated.02.pth"], lambda _: None)[
        0
    ].missing == (1,)
    assert candidates([A, B], lambda _: None)[0].missing == ()


def test_an_index_takes_what_it_lists() -> None:
    """What an index lists is its, whatever the names; what is numbered like that and not listed is
    told apart.
    """
    found = candidates(
        ["x.safetensors", "y.safetensors", INDEX],
        {INDEX: {"x.safetensors", "gone.safetensors"}}.get,
    )
    assert [candidate.choice for candidate in found] == [INDEX, "y.safetensors"]
    assert found[0].names == (INDEX, "x.safetensors")
    (only,) = candidates([A, B, INDEX], {INDEX: {A}}.get)
    assert (only.files, only.unlisted, only.missing) == ((A,), (B,), ())


@pytest.mark.parametrize("directory", ["", "sub/"])
def test_an_index_that_lists_a_part_of_a_numbered_set_is_incomplete(directory: str) -> None:
    """Numbers that are neither listed nor there are missing; unnumbered files have none."""
    listed = {f"{directory}m-{number:05d}-of-00008.safetensors" for number in range(1, 8)}
    (only,) = candidates([INDEX, *listed], {INDEX: {*listed, "extra.safetensors"}}.get)
    assert only.missing == (8,)


def test_a_hostile_index_of_many_sets_is_soon_done() -> None:
    """Ten thousand sets of 99,999 files are never counted to the end."""
    listed = [f"m{number}-00001-of-99999.safetensors" for number in range(10_000)]
    (only,) = candidates([INDEX, listed[0]], {INDEX: listed}.get)
    assert only.missing == tuple(range(2, 12))
    assert only.lacks == 10_000 * 99_998


def test_a_partial_index_is_an_error(sharded: Path) -> None:
    """Where the last shard and its entries are gone, writers refuse the set."""
    (sharded / B).unlink()
    put_index(sharded, {"a": A})
    with pytest.raises(InputError) as caught:
        read_checkpoint(STORE, find_source(STORE, str(sharded)), strict)
    assert caught.value.code == "shard-set-incomplete"
    assert "number 2 is neither listed nor there" in caught.value.message


# -- SOURCE ---------------------------------------------------------------------------------------


def test_a_directory_with_one_checkpoint_is_that_checkpoint(sharded: Path) -> None:
    """A directory means the only checkpoint in it."""
    located = find_source(STORE, str(sharded))
    assert _names(located.files) == [A, B]
    assert located.index_path == str(sharded / INDEX)
    assert (located.root, located.directory, located.stem) == (str(sharded), str(sharded), "model")
    assert located.is_set
    assert located.is_directory
    assert not located.notes


def test_an_index_means_its_set(sharded: Path) -> None:
    """An index file means the shards that it lists, also where the directory holds another
    checkpoint.
    """
    put(sharded, "model.safetensors", "old")
    located = find_source(STORE, str(sharded / INDEX))
    assert _names(located.files) == [A, B]
    assert not located.is_directory


def test_a_shard_means_its_set(sharded: Path) -> None:
    """Writers take the whole set of a named shard, and say so."""
    located = find_source(STORE, str(sharded / B))
    assert _names(located.files) == [A, B]
    assert "2 files" in located.notes[0]


def test_a_shard_can_be_looked_at_alone(sharded: Path) -> None:
    """Where the whole set is not wanted, a named shard is just that file."""
    located = find_source(STORE, str(sharded / B), whole_set=False)
    assert _names(located.files) == [B]
    assert located.index is None
    assert not located.is_set


def test_an_incomplete_set_is_not_taken(tmp_path: Path) -> None:
    """A named file of a set that lacks others is an error for writers, and can still be
    looked at.
    """
    path = put(tmp_path, A, "a")
    with pytest.raises(InputError) as caught:
        find_source(STORE, str(path))
    assert caught.value.code == "shard-set-incomplete"
    assert find_source(STORE, str(path), whole_set=False).files == (str(path),)


def test_an_unlisted_shard_is_not_taken(sharded: Path) -> None:
    """A named file that is numbered like a set whose index leaves it out is an error for
    writers.
    """
    put_index(sharded, {"a": A})
    with pytest.raises(InputError) as caught:
        find_source(STORE, str(sharded / B))
    assert caught.value.code == "shard-unlisted"


def test_a_shard_of_two_sets_is_not_taken(sharded: Path) -> None:
    """A named file that two indexes list is an error for writers, which lists both."""
    other = put_index(sharded, {"b": B}, "other.safetensors.index.json")
    with pytest.raises(UsageError, match="2 checkpoints") as caught:
        find_source(STORE, str(sharded / B))
    assert str(sharded / INDEX) in caught.value.hint
    assert str(other) in caught.value.hint


def test_a_set_of_two_formats_is_refused(sharded: Path) -> None:
    """Files of two formats are not one checkpoint, though their names make them a set."""
    torch.save({"b": torch.ones(2)}, sharded / B)
    with pytest.raises(ShardctlError, match="of the same set is not") as caught:
        read_checkpoint(STORE, find_source(STORE, str(sharded)), strict)
    assert caught.value.file == str(sharded / B)


@pytest.mark.parametrize(
    ("one", "other", "hint"),
    [
        (A, B, "from different saves"),
        ("consolidated.00.pth", "consolidated.01.pth", "slices for several devices"),
    ],
)
def test_a_tensor_in_two_files_is_explained(
    tmp_path: Path, one: str, other: str, hint: str
) -> None:
    """A tensor that two files hold is a sign of different saves, or of slices for devices."""
    for name in (one, other):
        torch.save({"a": torch.ones(2)}, tmp_path / name)
    found: list[Finding] = []
    read_checkpoint(STORE, find_source(STORE, str(tmp_path / one)), found.append)
    (twice,) = (each for each in found if each.code == "tensor-in-several-shards")
    assert (twice.file, twice.tensor) == (str(tmp_path / other), "a")
    assert hint in twice.hint


def test_the_format_of_a_set_without_files(sharded: Path) -> None:
    """Where no file of a set is there, its format is the one that the names promise."""
    for name in (A, B):
        (sharded / name).unlink()
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(sharded)), lambda _: None)
    assert checkpoint.format == "safetensors"


def test_several_kinds_of_checkpoint_are_a_usage_error_with_the_choices(sharded: Path) -> None:
    """A directory with a model and an adapter is exit 2 and lists the paths to name, each of which
    then works.
    """
    single = put(sharded, "adapter_model.safetensors", "old")
    with pytest.raises(UsageError) as caught:
        find_source(STORE, str(sharded))
    assert caught.value.exit_code == 2
    assert str(single) in caught.value.hint
    assert str(sharded / INDEX) in caught.value.hint
    assert find_source(STORE, str(single)).files == (str(single),)


def test_a_variant_is_chosen_by_its_name(tmp_path: Path) -> None:
    """Without a variant the plain checkpoint is taken, with a note; a variant that is not there is
    an error, unless any will do.
    """
    plain = put(tmp_path, "model.safetensors", "a")
    path = put(tmp_path, "model.fp16.safetensors", "a")
    located = find_source(STORE, str(tmp_path))
    assert located.files == (str(plain),)
    assert "also holds model.fp16.safetensors" in located.notes[0]
    for chosen in (
        find_source(STORE, str(path)),
        find_source(STORE, str(tmp_path), variant="fp16"),
    ):
        assert (chosen.files, chosen.variant) == ((str(path),), "fp16")
    assert find_source(STORE, str(tmp_path), variant="").files == (str(plain),)
    with pytest.raises(MissingError, match="holds no variant 'bf16'"):
        find_source(STORE, str(tmp_path), variant="bf16")
    assert find_source(STORE, str(tmp_path), variant="bf16", or_any=True).files == (str(plain),)


@pytest.mark.parametrize(
    "name", ["model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json"]
)
def test_both_names_of_a_variants_index_are_read(tmp_path: Path, name: str) -> None:
    """The index of a variant is found in either of its names."""
    shard = "model.fp16-00001-of-00001.safetensors"
    put(tmp_path, shard, "a")
    put_index(tmp_path, {"a": shard}, name)
    located = find_source(STORE, str(tmp_path))
    assert (_names(located.files), located.variant, located.stem) == ([shard], "fp16", "model")


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


def test_the_only_weights_file_of_a_directory_is_taken(tmp_path: Path) -> None:
    """A file that no loader knows by name is taken where it is the only one with weights."""
    path = put(tmp_path, "lora.safetensors", "a")
    (tmp_path / "vocab.bin").write_bytes(b"no weights at all")
    assert find_source(STORE, str(tmp_path)).files == (str(path),)
    put(tmp_path, "model.safetensors", "a")
    assert _names(find_source(STORE, str(tmp_path)).files) == ["model.safetensors"]


def test_training_state_is_taken_only_by_name(tmp_path: Path) -> None:
    """An optimizer's state is a candidate only when it is named, not in a directory."""
    path = put(tmp_path, "optimizer.safetensors", "a")
    assert directory_checkpoints(STORE, str(tmp_path)) == []
    assert find_source(STORE, str(path)).files == (str(path),)


def test_a_directory_without_a_checkpoint_says_what_is_in_it(tmp_path: Path) -> None:
    """An empty directory is exit 3, and the hint names the directories in it."""
    (tmp_path / "transformer").mkdir()
    with pytest.raises(MissingError) as caught:
        find_source(STORE, str(tmp_path))
    assert caught.value.exit_code == 3
    assert "transformer" in caught.value.hint


def test_nothing_there_is_missing(tmp_path: Path) -> None:
    """A path with nothing at it is exit 3 with a next step, and holds no checkpoints."""
    with pytest.raises(MissingError) as caught:
        find_source(STORE, str(tmp_path / "nothing"))
    assert caught.value.hint
    assert directory_checkpoints(STORE, str(tmp_path / "nothing")) == []


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


def test_an_index_of_any_name_is_read(tmp_path: Path) -> None:
    """A named index need not be called as loaders expect."""
    put(tmp_path, "x.safetensors", "a")
    path = put_index(tmp_path, {"a": "x.safetensors"}, "weights.json")
    assert _names(find_source(STORE, str(path)).files) == ["x.safetensors"]


# -- the checkpoint -------------------------------------------------------------------------------


def test_aliases_are_distinguished_from_metadata(tmp_path: Path) -> None:
    """Recorded tied names become aliases; all other metadata stays."""
    path = put(tmp_path, "model.safetensors", "a", "b", format="a", tied="a", b="a", note="text")
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(path)), strict)
    assert checkpoint.aliases == {"tied": "a"}
    assert checkpoint.metadata == {"format": "a", "b": "a", "note": "text"}


def test_aliases_are_read_from_the_index(tmp_path: Path) -> None:
    """A sharded checkpoint records its tied names in the index, and may map them there as well."""
    put(tmp_path, A, "a")
    put(tmp_path, B, "b")
    put_index(tmp_path, {"a": A, "b": B, "tied": A}, tied="a", version=3)
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), strict)
    assert checkpoint.aliases == {"tied": "a"}


def test_metadata_of_tensors_is_united(tmp_path: Path) -> None:
    """A key whose value is an object with a member for each tensor of its file is merged."""
    put(tmp_path, A, "a", "x", info='{"a": {"at": [0]}, "x": 1}', format="pt")
    put(tmp_path, B, "b", info='{"b": {"at": [7]}}', format="pt")
    put_index(tmp_path, {"a": A, "x": A, "b": B})
    notes: list[str] = []
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), noting(notes))
    assert checkpoint.tensor_metadata == {
        "info": {"a": '{"at": [0]}', "x": "1", "b": '{"at": [7]}'}
    }
    assert json.loads(checkpoint.metadata["info"]) == {"a": {"at": [0]}, "x": 1, "b": {"at": [7]}}
    assert notes == []


@pytest.mark.parametrize("other", ['{"a": 3}', "text", '{"b": 1, "c": 2}'])
def test_metadata_of_some_tensors_is_left_out(tmp_path: Path, other: str) -> None:
    """Where one file's value is of its tensors and another's is not, neither is taken."""
    put(tmp_path, A, "a", info='{"a": 1}', format="pt")
    put(tmp_path, B, "b", info=other, format="pt")
    put_index(tmp_path, {"a": A, "b": B})
    findings: list[Finding] = []
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), findings.append)
    assert (checkpoint.metadata, checkpoint.tensor_metadata) == ({"format": "pt"}, {})
    assert [(f.code, f.severity, Path(f.file or "").name) for f in findings] == [
        ("metadata-conflict", "note", B)
    ]


@pytest.mark.parametrize(
    ("shard", "recorded", "found"),
    [
        (A, {"tied": "a"}, ("index-tensor-missing", "warning")),
        (B, {"tied": "a"}, ("index-tensor-misplaced", "error")),
        (A, {"tied": "c"}, ("index-tensor-missing", "error")),
        (A, {}, ("index-tensor-missing", "error")),
    ],
)
def test_a_listed_alias_has_the_shard_of_its_tensor(
    tmp_path: Path, shard: str, recorded: dict[str, str], found: tuple[str, str]
) -> None:
    """A name that is listed and only recorded as tied is a warning where its tensor is in that
    shard, and an error in another shard or without that tensor.
    """
    put(tmp_path, A, "a")
    put(tmp_path, B, "b")
    put_index(tmp_path, {"a": A, "b": B, "tied": shard}, **recorded)
    findings: list[Finding] = []
    read_checkpoint(STORE, find_source(STORE, str(tmp_path)), findings.append)
    assert [(finding.code, finding.severity) for finding in findings] == [found]


def test_metadata_of_another_file_records_no_alias(tmp_path: Path) -> None:
    """A pair of texts in a file that does not hold the second one excuses no missing tensor."""
    put(tmp_path, A, "a", format="pt", tied="b", other="a")
    put(tmp_path, B, "b")
    put_index(tmp_path, {"a": A, "b": B, "tied": A})
    findings: list[Finding] = []
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), findings.append)
    assert checkpoint.aliases == {"other": "a"}
    assert [(finding.code, finding.tensor) for finding in findings] == [
        ("index-tensor-missing", "tied")
    ]


def test_conflicting_metadata_is_noted(tmp_path: Path) -> None:
    """Of a key with several values in several files the first is kept, with a note."""
    put(tmp_path, A, "a", who="first", format="pt")
    put(tmp_path, B, "b", who="second", more="x")
    put_index(tmp_path, {"a": A, "b": B})
    findings: list[Finding] = []
    checkpoint = read_checkpoint(STORE, find_source(STORE, str(tmp_path)), findings.append)
    assert checkpoint.metadata == {"who": "first", "format": "pt", "more": "x"}
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("metadata-conflict", "note")
    ]


# -- nested state dicts ---------------------------------------------------------------------------


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
