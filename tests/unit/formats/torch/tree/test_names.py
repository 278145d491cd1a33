"""Entries whose keys are not texts, or that read alike, have names that are distinguished."""

from __future__ import annotations

from typing import Any

import pytest

from shardctl.formats.pickle.keys import key_of
from shardctl.formats.pickle.values import Global, Mapping, Opaque, Sequence
from shardctl.formats.torch.tree.names import apart, key_text, name_of
from shardctl.model import MadeName


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("1", "1"),
        (key_of(1), "1"),
        (key_of(True), "True"),
        (None, "None"),
        ((key_of(1), ("a", None)), "(1, (a, None))"),
        (Global("m.f"), "<m.f>"),
        (Opaque("m.C"), "<m.C>"),
        (Sequence("frozenset"), "<builtins.frozenset>"),
        (b"a", "b'a'"),
    ],
)
def test_keys_are_shown(key: object, shown: str) -> None:
    """A text is itself, numbers read as they are written, and objects are named."""
    assert key_text(key) == shown


def test_a_made_name_is_told_from_a_text() -> None:
    """The name of a dict's number is made here; that of a place in a list is the place's."""
    assert name_of("a", Mapping()) == "a"
    assert type(name_of("a", Mapping())) is str
    made = name_of(key_of(1), Mapping())
    assert made == "1"
    assert isinstance(made, MadeName)
    for holder in (Sequence("list"), ()):
        assert type(name_of(1, holder)) is str


def test_a_text_keeps_its_name() -> None:
    """Of two keys that read alike the text has the name, whichever came first."""
    tree: dict[str, Any] = {"1": "of the number"}
    assert apart(tree, "1", "1") == "1"
    assert tree == {"1 (2)": "of the number"}
    tree = {"1": "of the text"}
    assert apart(tree, "1", key_of(1)) == "1 (2)"
    assert tree == {"1": "of the text"}


def test_every_name_is_new() -> None:
    """Names that are taken are counted past."""
    tree: dict[str, Any] = {"1": 0, "1 (2)": 0}
    assert apart(tree, "1", key_of(1)) == "1 (3)"
    tree["1 (3)"] = 0
    found = apart(tree, "1", key_of(1))
    assert found == "1 (4)"
    assert isinstance(found, MadeName)
