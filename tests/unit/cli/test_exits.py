"""Errors are printed with the file and the tensor that they are about."""

from __future__ import annotations

import pytest

from shardctl.cli.exits import say_error
from shardctl.errors import InputError


def said(
    capsys: pytest.CaptureFixture[str],
    message: str,
    file: str | None = None,
    tensor: str | None = None,
) -> str:
    """The first line of the error that is printed."""
    say_error(InputError(message, hint="look", file=file, tensor=tensor), as_json=False)
    return capsys.readouterr().err.partition("\n")[0]


@pytest.mark.parametrize(
    ("message", "file", "tensor", "line"),
    [
        ("two cover it", None, "w", "'w': two cover it"),
        ("two cover 'w'", None, "w", "two cover 'w'"),
        ("it ends", "d/x", "a", "'d/x': 'a': it ends"),
        ("'d/x' ends", "d/x", None, "'d/x' ends"),
    ],
)
def test_a_place_is_named_once(
    capsys: pytest.CaptureFixture[str],
    message: str,
    file: str | None,
    tensor: str | None,
    line: str,
) -> None:
    """A tensor is named unless the message has its name in quotes: `w` is in many a word."""
    assert said(capsys, message, file, tensor) == f"error: {line}"


def test_a_name_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A line break in a name is written out, so that no name begins a line."""
    name, shown = "a\nerror: all is well", r"a\nerror: all is well"
    line = said(capsys, "it ends", file=name, tensor=f"{name}!")
    assert line == f"error: '{shown}': '{shown}!': it ends"
