"""Which tensors of a nested file are meant."""

from __future__ import annotations

import pytest

from shardctl.errors import InputError, MissingError, UsageError
from shardctl.model import DTYPES, Extent, MadeName, NonTensor, Storage, Tensor, Tree
from shardctl.source.state_dict import flatten, select, state_dict_keys


def t(name: str) -> Tensor:
    """A tensor of one byte."""
    return Tensor(name, DTYPES["U8"], (1,), Storage(Extent("f", 0, 1), name))


TREE: Tree = {
    "step": NonTensor("step", "builtins.int"),
    "model": {"w": t("w"), "b": t("b"), "ema": {"w": t("w")}},
    "config": {"lr": NonTensor("lr", "builtins.float")},
}


def names(tree: Tree, key: str | None = None, *, drop_non_tensors: bool = False) -> list[str]:
    """The names of the chosen tensors."""
    return [
        tensor.name for tensor in select(tree, "f", key, drop_non_tensors=drop_non_tensors).tensors
    ]


def test_the_root() -> None:
    """Without a key, a flat file is taken whole, with its dots as they are; an empty one
    is empty.
    """
    assert names({"a.b": t("a.b"), "c": t("c")}) == ["a.b", "c"]
    assert names({}) == []


def test_a_key() -> None:
    """A key leads to the state dict there, and a dotted one to one further down; names count from
    there.
    """
    assert names(TREE, "model.ema") == ["w"]


def test_a_literal_key_with_dots() -> None:
    """A key that has dots itself is taken as it is."""
    assert names({"a.b": {"w": t("w")}}, "a.b") == ["w"]


def test_a_key_with_two_meanings() -> None:
    """Where a literal key and a path both lead somewhere, nothing is guessed."""
    with pytest.raises(UsageError, match="two meanings"):
        names({"a.b": {"w": t("w")}, "a": {"b": {"w": t("w")}}}, "a.b")


@pytest.mark.parametrize("key", ["nothing", "step", "model.", "", "model..ema"])
def test_a_key_that_leads_nowhere(key: str) -> None:
    """A key to a number or nothing is an error that lists the keys that would do."""
    with pytest.raises(MissingError) as caught:
        names(TREE, key)
    assert "`key`: model, model.ema" in caught.value.hint


def test_a_key_to_one_tensor() -> None:
    """A key that leads to a single tensor chooses that tensor, under the last part of the key."""
    assert names(TREE, "model.w") == ["w"]
    assert names({"0": t("0"), "1": t("1")}, "1") == ["1"]


def test_a_key_into_a_flat_file() -> None:
    """Where there is nothing nested, the hint says to leave the key out."""
    with pytest.raises(MissingError) as caught:
        names({"w": t("w")}, "model.x")
    assert "leave out `key`" in caught.value.hint


def test_what_is_no_tensor_is_not_dropped_unasked() -> None:
    """Beside tensors, other values are an error that names the way out."""
    tree: Tree = {"w": t("w"), "step": NonTensor("step", "builtins.int")}
    with pytest.raises(InputError, match=r"not tensors: step \(builtins.int\)") as caught:
        names(tree)
    assert "`drop_non_tensors`" in caught.value.hint
    chosen = select(tree, "f", None, drop_non_tensors=True)
    assert chosen.non_tensors == (NonTensor("step", "builtins.int"),)


@pytest.mark.parametrize("drop", [False, True])
def test_nested_state_dicts_are_never_dropped(drop: bool) -> None:
    """A state dict beside tensors holds tensors: it is refused, and the key to it is named."""
    with pytest.raises(InputError, match="state dicts beside its tensors: ema") as caught:
        names(TREE, "model", drop_non_tensors=drop)
    assert "`key`: model.ema" in caught.value.hint
    assert "drop_" not in caught.value.hint


def test_a_place_without_tensors() -> None:
    """Where tensors are only further down, the keys are listed; where there are none, what there
    is.
    """
    with pytest.raises(InputError, match="nested state dicts and no tensors") as caught:
        names(TREE, drop_non_tensors=True)
    assert "`key`: model, model.ema" in caught.value.hint
    with pytest.raises(InputError, match="'config' in 'f' contains no tensors") as caught:
        names(TREE, "config", drop_non_tensors=True)
    assert caught.value.message.endswith("but lr (builtins.float)")


def test_long_lists_are_cut() -> None:
    """Of a thousand keys or values the first ten are listed."""
    many: Tree = {f"k{number}": {"w": t("w")} for number in range(1000)}
    with pytest.raises(InputError) as caught:
        names(many)
    assert caught.value.hint.endswith("k9, …")
    values: Tree = {f"k{number}": NonTensor(f"k{number}", "builtins.int") for number in range(1000)}
    with pytest.raises(InputError) as caught:
        names(values)
    assert caught.value.message.endswith("k9 (builtins.int), and 990 more")


def test_hostile_names_are_escaped() -> None:
    """No control character of a name reaches a message."""
    with pytest.raises(InputError) as caught:
        names({"a\x1b[2J": {"w\n": t("w\n")}, "b\r": NonTensor("b\r", "evil\n.type")})
    assert (caught.value.message + caught.value.hint).isprintable()


def test_flatten() -> None:
    """Everything in a file, with the path of keys as its name, in order."""
    everything = flatten(TREE)
    assert [tensor.name for tensor in everything.tensors] == ["model.w", "model.b", "model.ema.w"]
    assert [value.name for value in everything.non_tensors] == ["step", "config.lr"]
    assert state_dict_keys(TREE) == ["model", "model.ema"]


def test_any_depth_is_flattened() -> None:
    """A tree of any depth is walked without recursion."""
    tree: Tree = {"w": t("w")}
    for _ in range(3_000):
        tree = {"d": tree}
    assert len(flatten(tree).tensors[0].name) == 2 * 3_000 + 1
    assert len(state_dict_keys(tree)) == 1


def test_keys_that_are_not_strings_are_refused() -> None:
    """A tensor under a number would come back under a text: a writer refuses it and says how to
    rename it.
    """
    number = MadeName("0")
    with pytest.raises(InputError, match="non-string keys: 0") as caught:
        select({number: t(number)}, "f", None, drop_non_tensors=False)
    assert "str(key)" in caught.value.hint


def test_unread_kinds_of_tensors_are_never_dropped() -> None:
    """A tensor of a kind that is not read is refused by name, also with `drop_non_tensors`."""
    sparse = NonTensor("s", "torch._utils._rebuild_sparse_tensor", unread=True)
    trees: list[Tree] = [
        {"w": t("w"), "s": sparse}, {"w": t("w"), "opt": {"s": sparse}}, {"s": sparse},
    ]  # fmt: skip
    for tree in trees:
        with pytest.raises(InputError, match=r"does not read: .*s \(torch") as caught:
            select(tree, "f", None, drop_non_tensors=True)
        assert caught.value.code == "tensor-unread"
        assert "to_dense" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "beside"),
    [
        (None, {}),
        ("model", {"step": 0, "config": 0}),
        ("model.ema", {"step": 0, "config": 0, "model.w": 1, "model.b": 1}),
        ("model.w", {"step": 0, "config": 0, "model.b": 1, "model.ema": 1}),
    ],
)
def test_what_lies_beside_a_key(key: str | None, beside: dict[str, int]) -> None:
    """On each level to a state dict the other values are remembered, with their tensors' bytes."""
    nested: Tree = {**TREE, "model": {"w": t("w")}} if key == "model" else TREE
    tree: Tree = {"w": t("w")} if key is None else nested
    found = select(tree, "f", key, drop_non_tensors=True).beside
    assert {value.name: value.nbytes for value in found} == beside
