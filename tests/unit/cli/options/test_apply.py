"""Parts of a plan are counted from 1 to their number."""

from __future__ import annotations

import pytest
import typer

from shardctl.cli.options.apply import part


@pytest.mark.parametrize("text", ["1/1", "1/2", "2/2", "007/10", "999999999/999999999"])
def test_a_part_of_parts(text: str) -> None:
    """It is kept as it was typed."""
    assert part(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "/", "1/", "/2", "0/2", "3/2", "0/0", "-1/2", "+1/2", "1/2/3", " 1/2", "1/2\n",
        "1.0/2", "a/b", "\u0661/\u0662", "1/1" + "0" * 9,
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """The error quotes it on one line, and gives examples."""
    with pytest.raises(typer.BadParameter, match="is not I/N") as caught:
        part(text)
    assert "\n" not in str(caught.value)
    assert "1/2 and 2/2" in str(caught.value)
