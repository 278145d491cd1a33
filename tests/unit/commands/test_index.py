"""Indexes written and repaired from what the shards' headers say."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from shardctl.commands.index import make_index, reindex
from shardctl.errors import (
    FormatError,
    InputError,
    ShardctlError,
    TargetExistsError,
    UsageError,
)
from shardctl.formats.limits import MAX_INDEX_BYTES
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import get, put, weights

INDEX = "m/model.safetensors.index.json"


def shard(number: int, count: int = 2) -> str:
    """The name of a shard."""
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def document(weight_map: dict[str, str], **metadata: object) -> bytes:
    """An index, in the form that is written."""
    whole = {"metadata": metadata, "weight_map": weight_map}
    return (json.dumps(whole, indent=2, sort_keys=True) + "\n").encode()


def index(store: MemoryStore) -> Any:
    """The index that is there."""
    return json.loads(get(store, INDEX))


@pytest.fixture
def store() -> MemoryStore:
    """Two shards, `a` and `b` in the first, `c` in the second, and their index."""
    store = MemoryStore()
    put(store, f"m/{shard(1)}", weights({"a": b"1" * 10, "b": b"2" * 20}))
    put(store, f"m/{shard(2)}", weights({"c": b"3" * 30}))
    put(store, INDEX, document({"a": shard(1), "b": shard(1), "c": shard(2)}, total_size=60))
    return store


def test_a_sound_index_is_left_alone(store: MemoryStore) -> None:
    """Where nothing differs nothing is written: the file is the same one as before."""
    version = store.version(INDEX)
    assert reindex(store, "m", check=False).changes == ()
    assert store.version(INDEX) == version


def test_a_missing_index_is_written(store: MemoryStore) -> None:
    """From the headers alone comes the index that was there."""
    sound = get(store, INDEX)
    store.remove(INDEX)
    made = reindex(store, "m", check=False)
    assert (made.path, made.changes) == (INDEX, ("the index is missing",))
    assert get(store, INDEX) == sound


def test_check_writes_nothing(store: MemoryStore) -> None:
    """With `check` the changes are said and the directory stays as it is."""
    store.remove(INDEX)
    assert reindex(store, "m", check=True).changes
    assert store.kind(INDEX) is None
    assert {entry.name for entry in store.list("m")} == {shard(1), shard(2)}


def test_a_wrong_total_is_corrected(store: MemoryStore) -> None:
    """`total_size` becomes the bytes of the tensors; both numbers are said."""
    put(store, INDEX, document({"a": shard(1), "b": shard(1), "c": shard(2)}, total_size=7))
    made = reindex(store, "m", check=False)
    assert "total_size is 7, and should be 60" in made.changes
    assert index(store)["metadata"] == {"total_size": 60}


def test_moved_and_unlisted_tensors(store: MemoryStore) -> None:
    """A tensor in another shard and one that is not listed are each put right and counted."""
    put(store, INDEX, document({"a": shard(2), "c": shard(2)}, total_size=60))
    changes = reindex(store, "m", check=False).changes
    assert changes[:2] == (
        "1 tensor not listed, the first is 'b'",
        "1 tensor in another shard than listed, the first is 'a'",
    )
    assert index(store)["weight_map"] == {"a": shard(1), "b": shard(1), "c": shard(2)}
    assert reindex(store, "m", check=True).changes == ()


def test_tensors_that_no_shard_holds_stop_it(store: MemoryStore) -> None:
    """What the index lists and cannot be carried over is named, and nothing is written; without
    that index a new one is made.
    """
    old = document({"a": shard(1), "b": shard(1), "c": shard(2), "gone": shard(1)}, total_size=60)
    put(store, INDEX, old)
    for check in (True, False):
        with pytest.raises(InputError, match=r"1 tensor that no shard holds; .* 'gone'") as caught:
            reindex(store, "m", check=check)
        assert (caught.value.code, caught.value.tensor) == ("index-tensor-missing", "gone")
        assert "move the index to another directory" in caught.value.hint
    assert get(store, INDEX) == old
    store.remove(INDEX)
    assert reindex(store, "m", check=False).changes == ("the index is missing",)


def test_names_of_another_set_are_stale(store: MemoryStore) -> None:
    """An index that lists shards of another count, beside a whole set, is put right by the set that
    is there.
    """
    put(store, INDEX, document({"a": shard(1, 3), "b": shard(1), "c": shard(3, 3)}, total_size=60))
    reindex(store, "m", check=False)
    assert index(store)["weight_map"] == {"a": shard(1), "b": shard(1), "c": shard(2)}


def test_metadata_that_means_nothing_to_us_is_kept(store: MemoryStore) -> None:
    """Whatever else an index says of itself stays, of any JSON type."""
    extra = {"author": "someone", "list": [1, 2.5, None], "total_parameters": 60}
    put(store, INDEX, document({"a": shard(1)}, **extra))
    reindex(store, "m", check=False)
    assert index(store)["metadata"] == {**extra, "total_size": 60}


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"weight_map": 3}'])
def test_an_unreadable_index_is_written_again(store: MemoryStore, broken: bytes) -> None:
    """A file that is not an index is replaced by one, and kept beside it."""
    sound = get(store, INDEX)
    put(store, INDEX, broken)
    assert reindex(store, "m", check=False).changes == ("the index cannot be read",)
    assert (get(store, INDEX), get(store, f"{INDEX}.bak")) == (sound, broken)
    put(store, INDEX, broken)
    reindex(store, "m", check=False)
    assert (get(store, INDEX), get(store, f"{INDEX}.bak")) == (sound, broken)


def test_an_index_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """It is not replaced either: to keep it beside the new one would take all of it in memory."""
    for number in (1, 2):
        (tmp_path / shard(number)).write_bytes(weights({f"t{number}": b"1"}))
    path = tmp_path / "model.safetensors.index.json"
    with path.open("wb") as file:
        file.truncate(MAX_INDEX_BYTES + 1)
    with pytest.raises(FormatError, match="more than 268,435,456 are not read") as caught:
        reindex(LocalStore(), str(tmp_path), check=False)
    assert "move it away" in caught.value.hint
    assert path.stat().st_size == MAX_INDEX_BYTES + 1


def test_an_earlier_backup_is_not_overwritten(store: MemoryStore) -> None:
    """Where the name for the unreadable index is taken, nothing is written."""
    put(store, INDEX, b"{")
    put(store, f"{INDEX}.bak", b"another")
    with pytest.raises(TargetExistsError, match="bak' exists"):
        reindex(store, "m", check=False)
    assert (get(store, INDEX), get(store, f"{INDEX}.bak")) == (b"{", b"another")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("data", [b"no JSON", b'{"hidden_size": 768}', b'{"weight_map": {}}'])
def test_a_file_without_shards_is_left_alone(name: str, data: bytes) -> None:
    """What is not an index, or lists nothing, is not replaced by an index of no tensors."""
    store = MemoryStore()
    put(store, f"m/{name}", data)
    put(store, "m/vision.safetensors", weights({"a": b"1"}))
    with pytest.raises(InputError, match="no weights files belong to"):
        reindex(store, f"m/{name}", check=False)
    assert get(store, f"m/{name}") == data


def test_shards_without_tensors_get_no_index(store: MemoryStore) -> None:
    """An index of no tensors would hide that they are missing."""
    for number in (1, 2):
        put(store, f"m/{shard(number)}", weights({}))
    before = get(store, INDEX)
    with pytest.raises(InputError, match="hold no tensors"):
        reindex(store, "m", check=False)
    assert get(store, INDEX) == before


def test_only_the_form_differs(store: MemoryStore) -> None:
    """An index that says the same in other white space is written in the usual form, and that is
    said.
    """
    put(store, INDEX, json.dumps(index(store)).encode())
    assert reindex(store, "m", check=False).changes == (
        "the file's form (order of keys, white space)",
    )


@pytest.mark.parametrize("with_index", [True, False])
def test_an_incomplete_set_is_refused(store: MemoryStore, *, with_index: bool) -> None:
    """An index of what is left would lose tensors for good."""
    store.remove(f"m/{shard(2)}")
    if not with_index:
        store.remove(INDEX)
    with pytest.raises(InputError, match="missing 1 of 2 shards: number 2"):
        make_index(store, "m")


def test_an_index_with_no_shard_left_is_not_emptied() -> None:
    """Where none of the listed shards is there, the index is all that is left, and stays."""
    store = MemoryStore()
    put(store, INDEX, document({"a": shard(1), "b": shard(2)}, total_size=60))
    with pytest.raises(InputError, match="2 shards listed in the index but missing"):
        reindex(store, INDEX, check=False)
    assert index(store)["weight_map"] == {"a": shard(1), "b": shard(2)}


@pytest.mark.parametrize("place", ["..\\two.safetensors", "/m/two.safetensors", "two.pt"])
def test_tensors_in_files_with_unusable_names_are_not_lost(place: str) -> None:
    """An old index whose names cannot all be carried over stays, and the first of them is named."""
    store = MemoryStore()
    put(store, "m/one.safetensors", weights({"a": b"1"}))
    put(store, INDEX, document({"a": "one.safetensors", "b": place}, total_size=2))
    before = get(store, INDEX)
    with pytest.raises(InputError, match="first is 'b'") as caught:
        reindex(store, "m", check=False)
    assert (caught.value.code, caught.value.tensor) == ("shard-name-unsafe", "b")
    assert get(store, INDEX) == before


def test_sets_that_count_from_zero() -> None:
    """A set numbered from 0 is whole without the last number."""
    store = MemoryStore()
    for number in (0, 1):
        put(store, f"m/{shard(number)}", weights({f"t{number}": b"1"}))
    reindex(store, "m", check=False)
    assert index(store)["weight_map"] == {"t0": shard(0), "t1": shard(1)}


def test_a_tensor_in_two_shards_is_refused(store: MemoryStore) -> None:
    """Two values for one name are refused where no index says which one counts."""
    put(store, f"m/{shard(2)}", weights({"a": b"3" * 30}))
    store.remove(INDEX)
    with pytest.raises(ShardctlError) as caught:
        make_index(store, "m")
    assert caught.value.code == "tensor-in-several-shards"


def test_a_damaged_shard_is_refused(store: MemoryStore) -> None:
    """An index of what could be read would lose the rest."""
    put(store, f"m/{shard(2)}", get(store, f"m/{shard(2)}")[:-1])
    with pytest.raises(InputError) as caught:
        make_index(store, "m")
    assert caught.value.code == "file-truncated"


def test_one_file_needs_no_index() -> None:
    """A single file is a usage error."""
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"a": b"1"}))
    with pytest.raises(UsageError, match="needs no index"):
        make_index(store, "m")


def test_torch_shards_get_an_index_of_their_own_name() -> None:
    """For `.bin` shards the index is `pytorch_model.bin.index.json`."""
    store = MemoryStore()
    for number in (1, 2):
        put(
            store,
            f"m/pytorch_model-0000{number}-of-00002.bin",
            weights({f"t{number}": b"1"}, "bin"),
        )
    assert reindex(store, "m", check=False).path == "m/pytorch_model.bin.index.json"


def test_shards_in_directories_below_keep_their_names() -> None:
    """A shard that the index lists as `sub/…` is still listed so."""
    store = MemoryStore()
    put(store, "m/one/model.safetensors", weights({"a": b"1" * 4}))
    put(store, "m/two/model.safetensors", weights({"b": b"2" * 5}))
    wanted = {"a": "one/model.safetensors", "b": "two/model.safetensors"}
    put(store, INDEX, document({"a": wanted["b"], "b": wanted["a"]}))
    reindex(store, "m", check=False)
    assert index(store) == {"metadata": {"total_size": 9}, "weight_map": wanted}
    assert reindex(store, INDEX, check=True).changes == ()


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    """An index that is a link, as in a cache, becomes a file; what it led to stays unchanged."""
    for number in (1, 2):
        (tmp_path / shard(number)).write_bytes(weights({f"t{number}": b"1"}))
    blob = tmp_path / "blob"
    blob.write_bytes(b"{}")
    path = tmp_path / "model.safetensors.index.json"
    path.symlink_to(blob)
    reindex(LocalStore(), str(tmp_path), check=False)
    assert not path.is_symlink()
    assert set(json.loads(path.read_bytes())["weight_map"]) == {"t1", "t2"}
    assert blob.read_bytes() == b"{}"


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_the_mode_of_the_index_is_kept(tmp_path: Path) -> None:
    """A repaired index may be read by those who could read it before."""
    for number in (1, 2):
        (tmp_path / shard(number)).write_bytes(weights({f"t{number}": b"1"}))
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(b"{}")
    path.chmod(0o640)
    reindex(LocalStore(), str(tmp_path), check=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_names_of_tied_tensors_come_from_the_shards() -> None:
    """Tied names that a shard records are gathered into a lost index, and into one without them."""
    store = MemoryStore()
    put(store, f"m/{shard(1)}", weights({"a": b"1" * 10}, metadata={"format": "pt", "t": "a"}))
    put(store, f"m/{shard(2)}", weights({"b": b"2" * 10}, metadata={"format": "pt", "u": "b"}))
    reindex(store, "m", check=False)
    made = document({"a": shard(1), "b": shard(2)}, t="a", total_size=20, u="b")
    assert get(store, INDEX) == made
    put(store, INDEX, document({"a": shard(1), "b": shard(2)}, t="a", total_size=20))
    changes = reindex(store, "m", check=False).changes
    assert changes[0] == "1 name of tied tensors not recorded, the first is 'u'"
    assert get(store, INDEX) == made


def test_a_stale_index_is_replaced_by_that_of_the_files_beside_it() -> None:
    """An index of another number of shards, none of which is there, is replaced by the one of the
    set that is, without a backup, and the changes are named.
    """
    store = MemoryStore()
    for number, name in enumerate("ab", start=1):
        put(store, f"m/{shard(number)}", weights({name: b"1"}))
    gone = {name: f"model-0000{number}-of-00004.safetensors" for number, name in enumerate("ab", 1)}
    put(store, INDEX, document(gone, total_size=2))
    made = reindex(store, "m", check=False)
    assert made.kept is None
    assert "2 tensors in another shard than listed" in made.changes[0]
    assert index(store)["weight_map"] == {"a": shard(1), "b": shard(2)}


def test_a_stale_index_of_other_tensors_stays() -> None:
    """Where the files beside it lack a tensor that it lists, they are not another save of it."""
    store = MemoryStore()
    for number, name in enumerate("ab", start=1):
        put(store, f"m/{shard(number)}", weights({name: b"1"}))
    put(store, INDEX, document({"a": "x.safetensors", "c": "y.safetensors"}, total_size=2))
    before = get(store, INDEX)
    with pytest.raises(InputError, match="the first is 'c'") as caught:
        reindex(store, "m", check=False)
    assert caught.value.code == "index-shard-missing"
    assert get(store, INDEX) == before


def test_one_of_one_gets_its_index() -> None:
    """A file that is numbered as the only one of its set is found through an index alone."""
    store = MemoryStore()
    name = "model-00001-of-00001.safetensors"
    put(store, f"m/{name}", weights({"a": b"1"}))
    reindex(store, "m", check=False)
    assert index(store)["weight_map"] == {"a": name}


def test_an_overlay_stays_where_the_index_has_it() -> None:
    """Of a tensor in two files the one that the index lists is listed again."""
    store = MemoryStore()
    put(store, f"m/{shard(1)}", weights({"a": b"1", "b": b"1"}))
    put(store, f"m/{shard(2)}", weights({"c": b"1"}))
    put(store, "m/overlay.safetensors", weights({"a": b"2"}))
    places = {"a": "overlay.safetensors", "b": shard(1), "c": shard(2)}
    put(store, INDEX, document(places, total_size=3))
    reindex(store, "m", check=False)
    assert index(store)["weight_map"] == places


def test_sets_of_two_stems_can_share_an_index() -> None:
    """Numbers are those of a stem: an extra set beside the model's own is not left over."""
    store = MemoryStore()
    files = {"a": shard(1), "b": shard(2), "c": "mtp-00001-of-00001.safetensors"}
    for name, file in files.items():
        put(store, f"m/{file}", weights({name: b"1"}))
    put(store, INDEX, document(files, total_size=9))
    reindex(store, "m", check=False)
    assert index(store)["weight_map"] == files


def test_a_list_of_checksums_that_has_the_index() -> None:
    """It is left as it is, and a note says that it does not hold for the new index."""
    store = MemoryStore()
    for number in (1, 2):
        put(store, f"m/{shard(number)}", weights({f"t{number}": b"1"}))
    put(store, "m/SHA256SUMS", f"{'0' * 64}  model.safetensors.index.json\n".encode())
    made = reindex(store, "m", check=False)
    assert any("'m/SHA256SUMS' lists files that are replaced here" in note for note in made.notes)
    assert reindex(store, "m", check=False).notes == ()
