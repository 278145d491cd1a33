"""Parameters of ZeRO are put together only where the parts of all ranks fit."""

from __future__ import annotations

import pytest

from shardctl.findings import Finding
from shardctl.model import DTYPES, Assembled, Extent, Storage, Tensor
from shardctl.source.distributed.zero_parameters import RankPart, from_divided, from_joined

F32 = DTYPES["F32"]


def part(rank: int, *lengths: int, dtype: str = "F32") -> RankPart:
    """What a rank has: vectors of so many elements."""
    kind = DTYPES[dtype]
    vectors = tuple(
        Tensor("", kind, (length,), Storage(Extent(f"r{rank}", 1_000 * at, 4 * length), str(at)))
        for at, length in enumerate(lengths)
    )
    return RankPart(rank, f"r{rank}", vectors)


def pieces(tensor: Tensor) -> list[tuple[str, int, int]]:
    """File, first element and number of elements of each part of a tensor, in order."""
    made = tensor.storage.made
    views = [box.tensor for box in made.boxes] if isinstance(made, Assembled) else [tensor]
    return [
        (view.storage.extent.path, view.span.offset // 4, view.elements)
        for view in views
        if view.elements
    ]


def joined_of(
    groups: list[dict[str, tuple[int, ...]]],
    *ranks: RankPart,
    paddings: list[list[int]] | None = None,
) -> tuple[dict[str, Tensor], list[Finding]]:
    """The parameters of groups that were joined, and what is wrong."""
    found: list[Finding] = []
    return from_joined(groups, paddings or [], ranks, found.append), found


def test_joined_parameters_cross_the_ranks() -> None:
    """A group is one vector over all ranks, cut at the shapes in their order."""
    tensors, findings = joined_of([{"a": (2, 3), "b": (2,)}], part(0, 4), part(1, 4))
    assert findings == []
    assert [tensor.shape for tensor in tensors.values()] == [(2, 3), (2,)]
    assert pieces(tensors["a"]) == [("r0", 0, 4), ("r1", 0, 2)]
    assert pieces(tensors["b"]) == [("r1", 2, 2)]


def test_paddings_between_parameters_are_skipped() -> None:
    """Each parameter is followed by so many elements that are none of it."""
    tensors, findings = joined_of(
        [{"a": (3,), "b": (2,)}], part(0, 4), part(1, 4), paddings=[[1, 2]]
    )
    assert findings == []
    assert pieces(tensors["b"]) == [("r1", 0, 2)]
    tensors, (finding,) = joined_of([{"a": (3,), "b": (2,)}], part(0, 6), paddings=[[1]])
    assert tensors == {}
    assert "has 1 padding between its parameters" in finding.message


@pytest.mark.parametrize(
    ("needed", "lengths", "sound"),
    [
        (8, (4, 4), True),
        (5, (4, 4), True),
        (5, (4, 1), True),
        (4, (4, 0), True),
        (5, (4, 2), False),
        (9, (4, 4), False),
        (4, (4, 4), False),
        (7, (4, 3), True),
        (4, (2, 2), True),
    ],
)
def test_the_padding_at_the_end_is_exact(
    needed: int, lengths: tuple[int, int], *, sound: bool
) -> None:
    """Two ranks pad to a multiple of four; the padding may be left out, and nothing else."""
    ranks = [part(rank, length) for rank, length in enumerate(lengths)]
    tensors, findings = joined_of([{"a": (needed,)}], *ranks)
    assert (set(tensors) == {"a"}, findings == []) == (sound, sound)


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ((part(0, 4, 4), part(1, 4)), "the part of rank 1 has 1 vector for 2 groups"),
        ((part(0, 4, 4), part(1, 4, 4, 4)), "has 3 vectors for 2 groups"),
        ((part(0, 4, 4), part(1, 4, 4, dtype="F16")), "has F16, and rank 0 has F32"),
        ((part(0, 4, 4), part(1, 3, 4)), "has 3 elements, and rank 0 has 4"),
    ],
)
def test_a_group_whose_parts_do_not_fit_is_left_out(
    ranks: tuple[RankPart, ...], words: str
) -> None:
    """An error names the rank, what is wrong, and the first parameter; sound groups are read."""
    groups: list[dict[str, tuple[int, ...]]] = [{"a": (8,)}, {"b": (8,), "c": ()}]
    tensors, findings = joined_of(groups, *ranks)
    assert any(words in finding.message for finding in findings)
    assert {finding.code for finding in findings} == {"tensor-slices"}
    assert {finding.tensor for finding in findings} <= {"a", "b"}
    assert "a" not in tensors


def divided_of(
    shapes: dict[str, tuple[int, ...]], *ranks: RankPart
) -> tuple[dict[str, Tensor], list[Finding]]:
    """Parameters that were divided one by one, and what is wrong."""
    found: list[Finding] = []
    return from_divided(shapes, ranks, found.append), found


def test_divided_parameters_come_from_every_rank() -> None:
    """Each is cut by itself, and what pads its last part is left out."""
    tensors, findings = divided_of(
        {"a": (5,), "b": (1,), "c": (0,), "d": ()}, part(0, 5), part(1, 5)
    )
    assert findings == []
    assert pieces(tensors["a"]) == [("r0", 0, 3), ("r1", 0, 2)]
    assert pieces(tensors["b"]) == [("r0", 3, 1)]
    assert (tensors["c"].shape, tensors["c"].elements) == ((0,), 0)
    assert pieces(tensors["d"]) == [("r0", 4, 1)]


def test_vectors_of_a_rank_follow_one_another() -> None:
    """A rank may have its share in several vectors."""
    tensors, findings = divided_of({"a": (8,)}, part(0, 1, 3), part(1, 4))
    assert findings == []
    assert pieces(tensors["a"]) == [("r0", 0, 1), ("r0", 250, 3), ("r1", 0, 4)]


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ((part(0, 4), part(1, 3)), "the part of rank 1 has 3 elements of the 4 that are its share"),
        ((part(0, 5), part(1, 4)), "the part of rank 0 has 5 elements of the 4"),
        ((part(0, 4), part(1, 4, dtype="F16")), "has F16, and the first vector is F32"),
    ],
)
def test_without_all_parts_there_are_no_parameters(ranks: tuple[RankPart, ...], words: str) -> None:
    """One part that does not fit makes every parameter unusable."""
    tensors, (finding,) = divided_of({"a": (8,)}, *ranks)
    assert tensors == {}
    assert words in finding.message
    assert (finding.code, finding.severity, finding.tensor) == ("tensor-slices", "error", "a")


def test_more_parts_than_can_be_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of all parameters are counted before any is made."""
    name = "shardctl.source.distributed.zero_parameters._MOST_PARTS"
    ranks = (part(0, 5), part(1, 5))
    monkeypatch.setattr(name, 3)
    assert len(divided_of({"a": (8,), "b": (1,)}, *ranks)[0]) == 2
    monkeypatch.setattr(name, 2)
    tensors, (finding,) = divided_of({"a": (8,), "b": (1,)}, *ranks)
    assert tensors == {}
    assert "one of too many" in finding.message
