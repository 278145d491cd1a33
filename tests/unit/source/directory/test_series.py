"""Which names differ in one number only, and whether that makes them one set."""

from __future__ import annotations

import pytest

from shardctl.errors import UsageError
from shardctl.naming import is_training_state
from shardctl.source.directory.series import complete_series
from shardctl.source.locate import find_source
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights


@pytest.mark.parametrize(
    ("names", "stem"),
    [
        (("out-00000.pt", "out-00001.pt"), "out"),
        (("model-1.pt", "model-2.pt", "model-3.pt"), "model"),
        (("hf_model_0001_0.pt", "hf_model_0002_0.pt"), "hf_model"),
        (("part9.pt", "part10.pt", *(f"part{n}.pt" for n in range(1, 9))), "part"),
        (("v1-part-0.pt", "v1-part-1.pt"), "v1-part"),
        (("layer_1_of_llama2.pt", "layer_2_of_llama2.pt"), "layer_of_llama2"),
    ],
)
def test_a_complete_series_is_one(names: tuple[str, ...], stem: str) -> None:
    """Whatever is before and after the number, consecutive numbers from 0 or 1 are one series."""
    (series,) = complete_series(dict.fromkeys(names, ".pt"))
    assert series.stem.replace("__", "_") == stem
    assert set(series.numbers) == set(names)
    assert list(series.numbers.values()) == sorted(series.numbers.values())


@pytest.mark.parametrize(
    "names",
    [
        ("a-1.pt",),
        ("a-1.pt", "a-3.pt"),
        ("a-2.pt", "a-3.pt"),
        ("step-1000.pt", "step-2000.pt"),
        ("a-1.pt", "a-01.pt"),
        ("a-1.pt", "b-2.pt"),
        (),
    ],
)
def test_others_are_not(names: tuple[str, ...]) -> None:
    """One file, a gap, another first number, or one number twice make no series."""
    assert complete_series(dict.fromkeys(names, ".pt")) == []


def test_a_variant_after_the_number_is_kept() -> None:
    """The variant of `model-1.fp16` is that of the set."""
    (series,) = complete_series(dict.fromkeys(("model-1.fp16.bin", "model-2.fp16.bin"), ".bin"))
    assert (series.stem, series.variant) == ("model", "fp16")


def test_files_without_a_tensor_in_common_are_a_set() -> None:
    """In a directory, and where one of them is named, all files are read in order."""
    store = MemoryStore()
    for number in (10, 9, *range(9)):
        put(store, f"m/out-{number}.bin", weights({f"t{number}": b"1"}, "bin"))
    files = tuple(f"m/out-{number}.bin" for number in range(11))
    assert find_source(store, "m").files == files
    assert find_source(store, "m/out-3.bin").files == files
    assert find_source(store, "m/out-3.bin", whole_set=False).files == ("m/out-3.bin",)


def test_files_with_the_same_tensors_are_several_checkpoints() -> None:
    """Epochs of one model are not joined: the directory is ambiguous, and each file is itself."""
    store = MemoryStore()
    for number in (1, 2):
        put(store, f"m/epoch-{number}.pt", weights({"t": b"1"}, "bin"))
    with pytest.raises(UsageError, match="holds 2 checkpoints"):
        find_source(store, "m")
    assert find_source(store, "m/epoch-2.pt").files == ("m/epoch-2.pt",)


def test_numbered_training_state_is_no_series() -> None:
    """The optimizer of each rank is training state, not weights."""
    store = MemoryStore()
    put(store, "m/model.safetensors", weights({"t": b"1"}))
    for number in (1, 2):
        assert is_training_state(f"optimizer_{number}.bin")
        put(store, f"m/optimizer_{number}.bin", weights({f"t{number}": b"1"}, "bin"))
    assert find_source(store, "m").files == ("m/model.safetensors",)
