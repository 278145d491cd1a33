"""What the user should know of a plan before the work."""

from __future__ import annotations

from shardctl.formats.registry import by_name
from shardctl.planning.notes import notes
from tests.support.tensors import checkpoint_of, floats

WEIGHT = floats("w", 4)


def test_names_that_are_only_recorded_are_named() -> None:
    """Each name that a run drops is named with the one that is written; one that the source only
    recorded is not named again.
    """
    source = checkpoint_of(WEIGHT, aliases={"old": "w"})
    (note,) = notes(source, by_name("safetensors"), [WEIGHT], {"old": "w", "twin": "w"})
    assert "'twin' (as 'w')" in note
    assert "'old'" not in note


def test_long_lists_are_cut() -> None:
    """Of a thousand dropped names ten are named."""
    many = [f"n{number:03}" for number in range(1000)]
    source = checkpoint_of(WEIGHT)
    (ties,) = notes(source, by_name("safetensors"), [WEIGHT], dict.fromkeys(many, "w"))
    assert "n009" in ties
    assert "n010" not in ties
    assert ties.endswith("and 990 more")
