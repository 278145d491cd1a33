"""Which files SOURCE means: a file, an index, or the checkpoint of a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.errors import InputError, MissingError, UsageError
from shardctl.source.locate import (
    Located,
    directory_checkpoints,
    each_checkpoint,
    find_source,
)
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put as put_memory
from tests.support.memory_checkpoints import weights
from tests.support.shard_files import INDEX, A, B, put, put_index, put_sharded

STORE = LocalStore()


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A directory with a sound checkpoint of two shards."""
    return put_sharded(tmp_path)


def _names(paths: tuple[str, ...]) -> list[str]:
    return [Path(path).name for path in paths]


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


def test_an_index_of_any_name_is_read(tmp_path: Path) -> None:
    """A named index need not be called as loaders expect."""
    put(tmp_path, "x.safetensors", "a")
    path = put_index(tmp_path, {"a": "x.safetensors"}, "weights.json")
    assert _names(find_source(STORE, str(path)).files) == ["x.safetensors"]


# -- the checkpoint -------------------------------------------------------------------------------


def test_each_checkpoint_of_a_directory_is_taken_by_its_own_name(sharded: Path) -> None:
    """All of them are, or those of a variant; "" are those without one."""
    put(sharded, "model.fp16.safetensors", "a")
    put(sharded, "adapter_model.safetensors", "a")

    def found(variant: str | None = None) -> list[str]:
        return [Path(each.root).name for each in each_checkpoint(STORE, str(sharded), variant)]

    assert sorted(found()) == sorted([INDEX, "model.fp16.safetensors", "adapter_model.safetensors"])
    assert found("fp16") == ["model.fp16.safetensors"]
    assert sorted(found("")) == sorted([INDEX, "adapter_model.safetensors"])


def test_many_choices_are_cut_short() -> None:
    """Of twelve checkpoints ten are named, and an ellipsis says that there are more."""
    store = MemoryStore()
    for number in range(12):
        put_memory(store, f"d/x{chr(97 + number)}.safetensors", weights({"w": b"1"}))
    with pytest.raises(UsageError, match="holds 12 checkpoints") as caught:
        find_source(store, "d")
    assert (caught.value.code, caught.value.file) == ("folder-ambiguous", "d")
    assert caught.value.hint.count(".safetensors") == 10
    assert caught.value.hint.endswith("; …")


def test_stale_indexes_are_noted() -> None:
    """An index of which no file is there is ignored, with a note, and kept in view."""
    store = MemoryStore()
    put_memory(store, "d/model.safetensors", weights({"w": b"1"}))
    listed = b'{"metadata":{},"weight_map":{"w":"gone.safetensors"}}'
    put_memory(store, f"d/{INDEX}", listed)
    located = find_source(store, "d")
    assert located.files == ("d/model.safetensors",)
    assert set(located.stale) == {f"d/{INDEX}"}
    assert any(
        "lists files of which none is there; it is ignored" in note for note in located.notes
    )


def test_names_of_files() -> None:
    """Files have the names that the index lists; those of several directories have their paths."""
    store = MemoryStore()
    files = ("d/a.bin", "d/sub/b.bin")
    assert Located("d", "d", files, "m").names(store) == {
        "d/a.bin": "a.bin",
        "d/sub/b.bin": "b.bin",
    }
    several = Located("d", "d", files, "m", directories=("d", "d/sub"))
    assert several.names(store) == {path: path for path in files}
    put_memory(store, "d/sub/x.safetensors", weights({"w": b"1"}))
    put_memory(store, f"d/{INDEX}", b'{"metadata":{},"weight_map":{"w":"sub/x.safetensors"}}')
    assert find_source(store, "d").names(store) == {"d/sub/x.safetensors": "sub/x.safetensors"}


@pytest.mark.parametrize(
    ("path", "first"),
    [
        (None, False),
        ("d/model.safetensors.index.fp16.json", False),
        ("d/model.fp16.safetensors.index.json", True),
        ("C:\\d\\model.fp16.safetensors.index.json", True),
        ("d/weights.json", False),
    ],
)
def test_where_the_variant_is_in_the_name_of_an_index(path: str | None, *, first: bool) -> None:
    """Only the name counts, with either separator of directories."""
    assert Located("d", "d", (), "model", index_path=path).variant_first is first
