"""Names in a directory are grouped into checkpoints, and what a set lacks is counted."""

from __future__ import annotations

import pytest

from shardctl.source.directory.candidates import (
    MOST_MISSING,
    Candidate,
    candidates,
    missing_numbers,
)
from tests.support.shard_files import INDEX, A, B


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


def test_numbers_that_several_sets_lack_are_in_order() -> None:
    """They are those of one directory after the other, whatever the order of what is listed."""
    listed = [f"{each}/m-00001-of-0000{n}.bin" for each, n in (("b", 2), ("c", 4), ("a", 3))]
    for order in (listed, listed[::-1]):
        (only,) = candidates([INDEX], {INDEX: order}.get, lambda _: True)
        assert only.missing == (2, 3, 2, 2, 3, 4)


def test_a_hostile_index_of_many_sets_is_soon_done() -> None:
    """Ten thousand sets of 99,999 files are never counted to the end."""
    listed = [f"m{number}-00001-of-99999.safetensors" for number in range(10_000)]
    (only,) = candidates([INDEX, listed[0]], {INDEX: listed}.get)
    assert only.missing == tuple(range(2, 12))
    assert only.lacks == 10_000 * 99_998


@pytest.mark.parametrize(
    ("numbers", "count", "missing"),
    [
        ({1, 2, 3}, 3, []),
        ({1, 3}, 3, [2]),
        ({0, 1}, 2, []),
        ({0, 2}, 3, [1]),
        ({2}, 1, [1]),
        ({0, 2}, None, [1]),
        ({3}, None, [0, 1, 2]),
        ({1, 5}, 3, [2, 3]),
    ],
)
def test_missing_numbers_are_counted_without_a_list(
    numbers: set[int], count: int | None, missing: list[int]
) -> None:
    """They count from 0 where there is a 0, and those past the last one do not count."""
    found, lacks = missing_numbers(numbers, count)
    assert (list(found), lacks) == (missing, len(missing))


def test_one_file_stands_for_no_long_list() -> None:
    """Of the numbers that a set lacks the first ten are kept, and all are counted."""
    (found,) = candidates(["model-00001-of-99999.safetensors"], lambda _: None)
    assert found.missing == tuple(range(2, 2 + MOST_MISSING))
    assert found.lacks == 99_998


def test_an_index_of_which_nothing_is_there() -> None:
    """It is gone; where the complete set of its name is there, that is of another save, and an
    incomplete one is not.
    """
    listed = {INDEX: {"x.safetensors", "sub/y.safetensors"}}.get
    (only,) = candidates([INDEX], listed, exists=lambda _: False)
    assert (only.gone, only.stale, only.files) == (True, False, ())
    first, *_ = candidates([INDEX, A, B], listed, exists=lambda _: False)
    assert (first.gone, first.stale, first.files) == (True, True, (A, B))
    first, *_ = candidates([INDEX, A], listed, exists=lambda _: False)
    assert (first.gone, first.stale) == (True, False)
    two_sets = [INDEX, A, B, "model-00001-of-00001.safetensors"]
    first, *_ = candidates(two_sets, listed, exists=lambda _: False)
    assert not first.stale
    (first,) = candidates([INDEX], listed, exists=lambda path: path == "sub/y.safetensors")
    assert not first.gone


def test_an_index_that_cannot_be_read_takes_the_files_of_its_name() -> None:
    """All that are numbered for its stem, variant and suffix, and no others."""
    names = [
        INDEX,
        A,
        B,
        "model.fp16-00001-of-00001.safetensors",
        "pytorch_model-00001-of-00001.bin",
    ]
    first, *rest = candidates(names, lambda _: None)
    assert first.files == (A, B)
    assert len(rest) == 2


def test_each_index_is_asked_for_once() -> None:
    """What an index lists may be large: it is not asked for again."""
    asked: list[str] = []
    candidates([INDEX, A, B], asked.append)
    assert asked == [INDEX]


@pytest.mark.parametrize(
    ("candidate", "is_set", "known", "choice", "title"),
    [
        (
            Candidate("model", None, ".safetensors", ("model.safetensors",)),
            False,
            True,
            "model.safetensors",
            "model.safetensors",
        ),
        (
            Candidate("x", None, ".safetensors", ("x\x1b.safetensors",)),
            False,
            False,
            "x\x1b.safetensors",
            "x\\x1b.safetensors",
        ),
        (
            Candidate("x", None, ".safetensors", (A, B), INDEX),
            True,
            True,
            INDEX,
            f"{INDEX} (2 files)",
        ),
        (
            Candidate("model", None, ".bin", ("a1.bin",), style="series"),
            True,
            False,
            "a1.bin",
            "a1.bin (1 file)",
        ),
    ],
)
def test_what_is_said_of_a_candidate(
    candidate: Candidate, *, is_set: bool, known: bool, choice: str, title: str
) -> None:
    """An index makes a set that loaders know; a series is known to none; titles can be printed."""
    assert (candidate.is_set, candidate.known) == (is_set, known)
    assert (candidate.choice, candidate.title) == (choice, title)
