"""Parts of a plan are counted from 1 to their number."""

from __future__ import annotations

import pytest
import typer

from shardctl.cli.options.apply import part
from shardctl.cli.options.everywhere import made
from shardctl.cli.spec import describe


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


def test_the_option_takes_a_part_and_nothing_else() -> None:
    """What is typed is checked before the plan is read."""
    command = made("apply")
    assert command.make_context("apply", ["p", "--part", "2/8"]).params["part"] == "2/8"
    with pytest.raises(typer.TyperException):
        command.make_context("apply", ["p", "--part", "9/8"])


def test_a_commit_is_typed() -> None:
    """It is one step of several, which no variable adds to each."""
    by_flag = {max(each.flags, key=len): each for each in describe(made("apply")).options}
    assert by_flag["--commit"].variable is None
    assert by_flag["--restart"].variable is None
    assert by_flag["--part"].variable == "SHARDCTL_APPLY_PART"
