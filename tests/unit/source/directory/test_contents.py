"""What is there instead of a checkpoint is named, with the command that helps."""

from __future__ import annotations

import pytest

from shardctl.errors import InputError, MissingError
from shardctl.source.locate import find_source
from shardctl.stores.local.store import LocalStore
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def error_of(*names: str, data: bytes = b"?") -> InputError:
    """The error for a directory `d` with files of these names."""
    store = MemoryStore()
    for name in names:
        put(store, f"d/{name}", data)
    with pytest.raises(InputError) as caught:
        find_source(store, "d")
    return caught.value


@pytest.mark.parametrize(
    ("names", "what", "hint"),
    [
        (("__0_0.distcp",), "(DCP), and no .metadata", "copy the whole directory"),
        (("__0_0.distcp", "__1_0.distcp"), "(DCP), and no .metadata", "hidden file .metadata"),
        (("global_step10/x", "zero_to_fp32.py"), "without the file `latest`", "one step in d"),
        (("mp_rank_00/model_optim_rng.pt", "mp_rank_01/x"), "Megatron", "Megatron"),
        (("saved_model.pb", "variables/variables.index"), "SavedModel", "TensorFlow"),
        (
            ("checkpoint", "model.ckpt-1.index", "model.ckpt-1.data-00000-of-00001"),
            "TensorFlow",
            "",
        ),
        (("model_index.json", "unet/config.json"), "it is a pipeline", "one of its models in d"),
        (("data.pkl", "data/0", "version"), "unpacked file of the format", "zip -0 -r d.bin d"),
        (("optimizer.pt", "rng_state.pth"), "training state (optimizer.pt, rng_state.pth)", "name"),
        (("a/b",), "1 directory", "one of its directories (a)"),
        ((".git/b",), "nothing but hidden directories", "name a directory with"),
    ],
)
def test_layouts_of_directories(names: tuple[str, ...], what: str, hint: str) -> None:
    """A directory that is laid out by another program is called what it is."""
    error = error_of(*names)
    assert what in error.message
    assert hint in error.hint
    assert error.exit_code == 3


def test_a_data_file_of_a_distributed_checkpoint_is_not_read_alone() -> None:
    """Slices are not tensors: the file that has some is refused, and the directory is named."""
    store = MemoryStore()
    put(store, "d/__0_0.distcp", b"?")
    with pytest.raises(InputError, match="slices of tensors") as caught:
        find_source(store, "d/__0_0.distcp")
    assert "the hidden file .metadata" in caught.value.hint


def test_the_files_of_a_directory_are_counted() -> None:
    """Files of other kinds are counted by kind, and the most frequent kind gives the hint."""
    error = error_of("a.gguf", "b.gguf", "README.md", data=b"GGUF\3\0\0\0")
    assert "it has 2 GGUF files (a.gguf, b.gguf), 1 other file" in error.message
    assert "llama.cpp" in error.hint
    assert "a Git LFS pointer (weights)" in error_of("weights", data=POINTER).message
    assert "an empty file (weights)" in error_of("weights", data=b"").message
    assert "the answer of a server (x)" in error_of("x", data=b"Entry not found").message


def test_hidden_directories_are_not_offered() -> None:
    """The hint names a directory to look into, but for those that programs keep for themselves."""
    assert "one of" not in error_of(".git/config", data=b"x").hint
    assert "one of its directories (sub), " in error_of(".git/config", "sub/x", data=b"x").hint


def test_an_empty_directory(tmp_path: object) -> None:
    """An empty directory is said to be empty."""
    with pytest.raises(MissingError, match="it is empty"):
        find_source(LocalStore(), str(tmp_path))


def test_an_id_of_the_hub_is_recognised() -> None:
    """What has the form of an id, and does not exist, gets the command that downloads the model."""
    store = MemoryStore()
    with pytest.raises(MissingError) as caught:
        find_source(store, "org/name")
    assert "`hf download org/name --local-dir name`" in caught.value.hint
    put(store, "org/other", b"")
    for path in ("org/name", "no/model.safetensors", "./a/b", "a"):
        with pytest.raises(MissingError) as caught:
            find_source(store, path)
        assert "hf download" not in caught.value.hint
        assert "check the path" in caught.value.hint


def test_a_misspelled_path_gets_the_nearest_name() -> None:
    """A name that is nearly one in its directory is answered with that one."""
    store = MemoryStore()
    put(store, "models/llama-7b/model.safetensors", b"?")
    with pytest.raises(MissingError) as caught:
        find_source(store, "models/lama-7b")
    assert "did you mean 'models/llama-7b'?" in caught.value.hint
