"""Names of files that one rank holds are distinguished from other names with numbers."""

from __future__ import annotations

import io

import pytest
import torch

from shardctl.errors import InputError, UsageError
from shardctl.source.directory.candidates import Candidate
from shardctl.source.directory.rank_names import lone_slice, slices
from shardctl.source.locate import find_source
from shardctl.testing.memory import MemoryStore
from tests.support.memory_checkpoints import put, weights


def error_of(*names: str, data: bytes = b"?") -> InputError:
    """The error for a directory `d` with files of these names."""
    store = MemoryStore()
    for name in names:
        put(store, f"d/{name}", data)
    with pytest.raises(InputError) as caught:
        find_source(store, "d")
    return caught.value


def test_files_of_ranks_are_slices() -> None:
    """The files that ranks wrote are slices of one model, not checkpoints to choose from."""
    out = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, out)
    error = error_of(*(f"weights_rank_{rank}.pt" for rank in "01"), data=out.getvalue())
    assert "2 files of one model, sliced for as many ranks" in error.message
    assert "the program that saved them" in error.hint


def test_adapters_of_several_ranks_are_no_slices() -> None:
    """The rank of an adapter is a size, so such files are checkpoints to choose from."""
    store = MemoryStore()
    for rank in (8, 16):
        put(store, f"d/lora_rank_{rank}.pt", weights({"a": b"1"}, "bin"))
    with pytest.raises(UsageError, match="2 checkpoints, and nothing says which one is meant"):
        find_source(store, "d")
    error = error_of("x_rank_0.pt", "x_rank_1.pt", data=weights({"a": b"1"}, "bin"))
    assert "2 files of one model, sliced" in error.message


@pytest.mark.parametrize("source", ["d", "d/model_world_size_8_rank_3.pt"])
def test_the_file_of_one_rank_is_a_slice(source: str) -> None:
    """A file of one rank among several is called a slice, alone in a directory and by its name."""
    store = MemoryStore()
    put(store, "d/model_world_size_8_rank_3.pt", weights({"a": b"1"}, "bin"))
    (found,) = find_source(store, source).findings
    assert (found.code, found.severity) == ("shard-set-incomplete", "warning")
    assert "what rank 3 of 8 holds" in found.message


@pytest.mark.parametrize("name", ["model_world_size_1_rank_0.pt", "lora_rank_16.pt", "rank.pt"])
def test_the_only_rank_has_everything(name: str) -> None:
    """The file of an only rank is whole, and a rank without their number is only a name."""
    store = MemoryStore()
    put(store, name, weights({"a": b"1"}, "bin"))
    assert find_source(store, name).findings == ()


@pytest.mark.parametrize(
    ("stem", "rank", "count"),
    [
        ("model_world_size_8_rank_3", "3", "8"),
        ("x-rank-0-of-2", "0", "2"),
        ("x.rank.1-of-4", "1", "4"),
        ("x_rank12-of-1024", "12", "1,024"),
        ("a\nb_world_size_2_rank_1", "1", "2"),
    ],
)
def test_the_rank_of_a_lone_file(stem: str, rank: str, count: str) -> None:
    """Rank and number of ranks are said as the name has them."""
    (finding,) = lone_slice(stem, "p")
    assert f"what rank {rank} of {count} holds" in finding.message
    assert (finding.code, finding.severity, finding.file) == (
        "shard-set-incomplete",
        "warning",
        "p",
    )


@pytest.mark.parametrize(
    "stem",
    [
        "model",
        "frank_0-of-2",
        "rank0-of-2",
        "x_rank_0",
        "x_rank_0-of-1",
        "x_world_size_1_rank_0",
        "x_rank_0-of-2x",
        "x_rank_" + "9" * 10,
    ],
)
def test_other_names_say_nothing(stem: str) -> None:
    """A rank without the number of ranks, an only rank, and other words are not slices."""
    assert list(lone_slice(stem, "p")) == []


def of(*stems: str) -> list[Candidate]:
    """Checkpoints of one file each."""
    return [Candidate(stem, None, ".pt", (f"{stem}.pt",)) for stem in stems]


@pytest.mark.parametrize(
    ("stems", "sliced"),
    [
        (("x_rank_0", "x_rank_1", "x_rank_2"), True),
        (("x_rank_1", "x_rank_2"), False),
        (("x_rank_0", "x_rank_2"), False),
        (("x_rank_0", "x_rank_0"), False),
        (("x_rank_0", "model"), False),
        (("x_rank_1-of-4", "x_rank_3-of-4"), True),
        (("x_world_size_4_rank_1", "x_world_size_4_rank_3"), True),
        (("x_rank_1-of-4", "x_rank_3"), False),
    ],
)
def test_files_for_ranks_are_one_model(stems: tuple[str, ...], *, sliced: bool) -> None:
    """All files have a rank, and they count from 0 or say how many there are."""
    error = slices("d", of(*stems))
    assert (error is not None) is sliced
    if error is not None:
        assert (error.file, error.exit_code) == ("d", 3)
        assert f"{len(stems)} files of one model" in error.message
