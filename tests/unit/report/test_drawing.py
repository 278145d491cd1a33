"""The texts of the picture: what is too long is left out in whole words, and no number is cut."""

from __future__ import annotations

import pytest

from shardctl.report.drawing import _facts, _last_parts, _whole

#: Units of a character in the small font.
CHARACTER = 6.2


@pytest.mark.parametrize(
    ("room", "shown"),
    [(40, "F32 64 x 64, 369.2 KB"), (21, "F32 64 x 64, 369.2 KB"), (20, "369.2 KB"),
     (8, "369.2 KB"), (7, ""), (1, "")],
)  # fmt: skip
def test_a_size_is_whole_or_missing(room: int, shown: str) -> None:
    """Where the detail does not fit its size is left, and where that does not fit, nothing is."""
    assert _whole("F32 64 x 64, 369.2 KB", room * CHARACTER + 0.1) == shown


def test_a_label_keeps_its_last_parts() -> None:
    """The first parts of a layer's name are left out until the rest fits."""
    label = "self_attn.q_proj.weight"
    assert _last_parts(label, 30 * CHARACTER) == label
    assert _last_parts(label, 15 * CHARACTER + 1) == "q_proj.weight"
    assert _last_parts(label, 8 * CHARACTER + 1) == "q_proj"
    assert _last_parts("q_proj.bias", 8 * CHARACTER + 1) == "bias"
    assert _last_parts("weight", 4 * CHARACTER + 1) == "we…t"


def test_facts_are_left_out_whole() -> None:
    """The caption has the facts that fit side by side."""
    facts = ["bin", "1 file", "228,416 parameters", "913.7 KB"]
    assert _facts(facts, 900, 10) == " · ".join(facts)
    assert _facts(facts, 34 * CHARACTER, 10) == "bin · 1 file · 228,416 parameters"
