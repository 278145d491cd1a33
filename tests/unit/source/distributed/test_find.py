"""Which files several processes saved together is known by their names."""

from __future__ import annotations

import pytest

from shardctl.errors import InputError, MissingError
from shardctl.source.locate import find_source
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, sample, weights


def test_a_directory_with_metadata_is_a_distributed_checkpoint() -> None:
    """It is one by the directory's name and by that of the metadata."""
    store = MemoryStore()
    put(store, "d/.metadata", b"?")
    for source in ("d", "d/.metadata"):
        located = find_source(store, source)
        assert (located.files, located.distributed) == (("d/.metadata",), "metadata")
        assert located.is_directory == (source == "d")
        assert not located.notes


def test_another_checkpoint_beside_it_is_named() -> None:
    """Weights that loaders know by name are not what is read, and that is said."""
    store = MemoryStore()
    sample(store)
    put(store, "m/.metadata", b"?")
    located = find_source(store, "m")
    assert located.distributed == "metadata"
    assert "beside it is model.safetensors" in located.notes[0]


@pytest.mark.parametrize(
    ("beside", "hint"), [((".metadata",), "name the directory"), ((), "copy the whole directory")]
)
@pytest.mark.parametrize("whole_set", [True, False])
def test_a_data_file_alone_is_not_a_model(
    beside: tuple[str, ...], hint: str, whole_set: bool
) -> None:
    """What one process saved is an error, with what to name or to copy."""
    store = MemoryStore()
    for name in ("__0_0.distcp", *beside):
        put(store, f"d/{name}", b"?")
    with pytest.raises(InputError, match="slices of tensors, and not a model") as caught:
        find_source(store, "d/__0_0.distcp", whole_set=whole_set)
    assert hint in caught.value.hint
    assert caught.value.code == "tensor-slices"


def test_data_files_without_metadata_are_no_checkpoint() -> None:
    """Without the metadata nothing says where the slices belong."""
    store = MemoryStore()
    put(store, "d/__0_0.distcp", b"?")
    with pytest.raises(MissingError, match=r"and no \.metadata"):
        find_source(store, "d")


def test_slices_without_a_count_get_a_note() -> None:
    """That a missing last file cannot be noticed is said before anything is written."""
    store = MemoryStore()
    for rank in (1, 2):
        put(store, f"d/shard-{rank:05d}-model-00001-of-00001.safetensors", b"?")
    located = find_source(store, "d")
    assert located.distributed == "slices"
    assert [note for note in located.notes if "without the last file" in note]


def test_a_piece_with_a_name_that_loaders_know_is_none_of_theirs() -> None:
    """A data file is not read alone, whatever it is called: another checkpoint beside it is."""
    store = MemoryStore()
    put(store, "d/model.distcp", b"?")
    with pytest.raises(MissingError, match=r"and no \.metadata"):
        find_source(store, "d")
    put(store, "d/other.safetensors", weights({"a": b"1"}))
    assert find_source(store, "d").files == ("d/other.safetensors",)
    for rank in (1, 2):
        put(store, f"d/shard-{rank:05d}-model-00001-of-00001.distcp", b"?")
    assert find_source(store, "d").files == ("d/other.safetensors",)
    put(store, "d/.metadata", b"?")
    assert not find_source(store, "d").notes
