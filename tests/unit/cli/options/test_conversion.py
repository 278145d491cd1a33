"""The type to convert to, and the tensors that keep theirs."""

from __future__ import annotations

import pytest

from shardctl.cli.options.conversion import keywords_of


@pytest.mark.parametrize("keep", [None, []])
def test_nothing_typed_converts_nothing(keep: list[str] | None) -> None:
    """No pattern and an empty list of patterns are the same."""
    assert keywords_of(None, keep) == {"dtype": None, "keep_dtype": ()}


def test_names_and_patterns_are_as_they_were_typed() -> None:
    """In their order; which names there are the library says."""
    assert keywords_of("torch.bfloat16", ["b", "a"]) == {
        "dtype": "torch.bfloat16",
        "keep_dtype": ("b", "a"),
    }
