"""Patterns and rules as they are typed become those of the library."""

from __future__ import annotations

import pytest

from shardctl.cli.options.selection import keywords_of
from shardctl.errors import UsageError

EMPTY = {"include": (), "exclude": (), "strip_prefix": "", "add_prefix": "", "rename": ()}


def test_nothing_typed_selects_everything() -> None:
    """No pattern and an empty list of patterns are the same."""
    assert keywords_of(None, None, "", "", None) == EMPTY
    assert keywords_of([], [], "", "", []) == EMPTY


def test_patterns_keep_their_order() -> None:
    """So do rules, which are applied in it."""
    assert keywords_of(["b", "a"], ["c"], "x.", "y.", ["2=1", "1=2"]) == {
        "include": ("b", "a"),
        "exclude": ("c",),
        "strip_prefix": "x.",
        "add_prefix": "y.",
        "rename": (("2", "1"), ("1", "2")),
    }


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a=b", ("a", "b")),
        ("a=", ("a", "")),
        ("(?<=m)=x", ("(?<=m)", "x")),
        ("a=b=c", ("a=b", "c")),
        ("==", ("=", "")),
        (" = ", (" ", " ")),
    ],
)
def test_the_last_equals_sign_divides_a_rule(text: str, rule: tuple[str, str]) -> None:
    """A regular expression may have others, and the new text may be empty."""
    assert keywords_of(None, None, "", "", [text])["rename"] == (rule,)


@pytest.mark.parametrize("text", ["", "abc", "=abc", "=", "a\nb"])
def test_a_rule_without_two_sides_is_refused(text: str) -> None:
    """The message quotes it on one line, and the hint has the form."""
    with pytest.raises(UsageError, match="has no '='") as caught:
        keywords_of(None, None, "", "", ["a=b", text])
    assert "\n" not in caught.value.message
    assert "REGEX=NAME" in caught.value.hint
