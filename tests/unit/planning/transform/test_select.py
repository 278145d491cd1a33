"""Which tensors are taken, and what they are called."""

from __future__ import annotations

import pytest

from shardctl.errors import UsageError
from shardctl.model import Checkpoint, Index
from shardctl.planning.request import EVERYTHING, Selection
from shardctl.planning.transform.select import select
from tests.support.tensors import checkpoint_of, floats

A, B, C = floats("m.a.weight", 2), floats("m.a.bias", 2, 8), floats("head.weight", 2, 16)


def names(checkpoint: Checkpoint) -> list[str]:
    """The names of the tensors, in order."""
    return [tensor.name for tensor in checkpoint.tensors]


def test_an_empty_selection_is_the_checkpoint() -> None:
    """Where nothing is asked for, the very same checkpoint comes back."""
    source = checkpoint_of(A, B, C)
    assert select(source, EVERYTHING).checkpoint is source
    assert not EVERYTHING


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(include=("m.*",)), ["m.a.weight", "m.a.bias"]),
        (Selection(include=("*.weight", "head.?eight")), ["m.a.weight", "head.weight"]),
        (Selection(exclude=("*.bias",)), ["m.a.weight", "head.weight"]),
        (Selection(include=("m.*",), exclude=("*.bias",)), ["m.a.weight"]),
        (Selection(include=("m.a.[bw]*",)), ["m.a.weight", "m.a.bias"]),
    ],
)
def test_patterns_choose_whole_names(selection: Selection, chosen: list[str]) -> None:
    """`*` crosses dots, several patterns add up, and what is excluded is left out in any case."""
    made = select(checkpoint_of(A, B, C), selection)
    assert names(made.checkpoint) == chosen
    assert {tensor.name for tensor in made.left_out} == {A.name, B.name, C.name} - {*chosen}


def test_steps_of_renaming_apply_in_order() -> None:
    """The prefix goes, the new one comes, then each rule sees what the one before it made."""
    selection = Selection(
        strip_prefix="m.", add_prefix="x.", rename=((r"^x\.a\.(\w+)$", r"y.\1"), ("^y", "z"))
    )
    made = select(checkpoint_of(A, B, C), selection)
    assert names(made.checkpoint) == ["z.weight", "z.bias", "x.head.weight"]
    assert made.left_out == ()
    assert [tensor.storage for tensor in made.checkpoint.tensors] == [
        A.storage,
        B.storage,
        C.storage,
    ]


def test_every_match_in_a_name_is_replaced() -> None:
    """A rule without an anchor applies wherever it matches."""
    made = select(checkpoint_of(A), Selection(rename=(("[.]", "/"),)))
    assert names(made.checkpoint) == ["m/a/weight"]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(include=("a.*",)), "`include` 'a.*' matches no tensor's name"),
        (Selection(include=("m.*", "M.*")), "`include` 'M.*' matches no tensor's name"),
        (Selection(exclude=("*.gamma",)), "`exclude` '*.gamma' matches no tensor's name"),
        (Selection(exclude=("*",)), "no tensor is left: `exclude` matches every name"),
        (Selection(include=("m.*",), exclude=("m.*",)), "matched by `exclude` as well"),
        (Selection(strip_prefix="x."), "`strip_prefix` 'x.' changes no tensor's name"),
        (Selection(rename=(("x", "y"),)), "`rename` 'x=y' changes no tensor's name"),
        (Selection(rename=(("(", "y"),)), "`rename` '(=y' cannot be used"),
        (Selection(rename=(("m", r"\1"),)), "invalid group reference"),
        (Selection(rename=(("(?P<x>m)", r"\g<y>"),)), "unknown group name"),
        (Selection(rename=(("^.*$", ""),)), "nothing is left of the name 'm.a.weight'"),
        (
            Selection(rename=(("weight|bias", "w"),)),
            "'m.a.weight' and 'm.a.bias' would both be called 'm.a.w'",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(selection: Selection, message: str) -> None:
    """A pattern without a match, a rule without effect, and two tensors of one name are errors."""
    with pytest.raises(UsageError) as caught:
        select(checkpoint_of(A, B, C), selection)
    assert message in caught.value.message
    assert caught.value.hint


def test_recorded_names_are_chosen_and_renamed() -> None:
    """A name that is only recorded as tied is a name like any other, in the index's record too."""
    index = Index("models/i", {"head.weight": "m.a.weight", "note": "x", "total_size": 8}, {})
    source = checkpoint_of(A, aliases={"head.weight": "m.a.weight"}, index=index)
    made = select(source, Selection(strip_prefix="m.", rename=(("head", "top"),))).checkpoint
    assert names(made) == ["a.weight"]
    assert made.aliases == {"top.weight": "a.weight"}
    assert made.index is not None
    assert made.index.metadata == {"note": "x", "total_size": 8}
    assert select(source, Selection(exclude=("head*",))).checkpoint.aliases == {}


def test_a_recorded_name_takes_the_place_of_what_is_left_out() -> None:
    """Where the tensor itself is not chosen, the first recorded name has its bytes."""
    source = checkpoint_of(A, B, aliases={"x": "m.a.weight", "y": "m.a.weight"})
    made = select(source, Selection(exclude=("m.a.weight",)))
    assert names(made.checkpoint) == ["x", "m.a.bias"]
    assert made.checkpoint.tensors[0].storage == A.storage
    assert made.checkpoint.aliases == {"y": "x"}


def test_what_is_recorded_of_each_tensor_goes_with_it() -> None:
    """Metadata of single tensors follows the names; a count of all is dropped with the first."""
    index = Index("models/i", {"total_parameters": 6}, {})
    source = checkpoint_of(
        A, B, tensor_metadata={"k": {"m.a.weight": "{}", "m.a.bias": "[]"}}, index=index
    )
    made = select(source, Selection(include=("*.bias",), strip_prefix="m.")).checkpoint
    assert made.tensor_metadata == {"k": {"a.bias": "[]"}}
    assert made.index is not None
    assert made.index.metadata == {}
    renamed = select(source, Selection(strip_prefix="m.")).checkpoint
    assert renamed.index is not None
    assert renamed.index.metadata == {"total_parameters": 6}
