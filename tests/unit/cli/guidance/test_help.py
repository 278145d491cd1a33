"""Help fits its width, and has every option in full."""

from __future__ import annotations

import shutil
from os import terminal_size

import pytest

from shardctl.cli.app import app
from shardctl.cli.guidance.help import EXIT_CODES, MAIN, page
from shardctl.cli.options.everywhere import made

COMMANDS = ("split", "merge", "inspect", "verify", "apply")


def text_of(name: str, *, full: bool, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The help of a command on a terminal of so many columns."""
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: terminal_size((columns, 24)))
    return page(made(name) if name else app, full=full)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_no_line_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, name: str, columns: int, *, full: bool
) -> None:
    """Texts are wrapped, beside their names or below them."""
    text = text_of(name, full=full, columns=columns, monkeypatch=monkeypatch)
    assert text.startswith("Usage: shardctl")
    too_wide = [line for line in text.splitlines() if len(line) > columns and " " in line.strip()]
    assert too_wide == []
    assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_is_a_part_of_the_full_one(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Every option is in full; in short the main ones are, with the way to the others."""
    short, full = (
        text_of(name, full=each, columns=100, monkeypatch=monkeypatch) for each in (False, True)
    )
    options = [each for each in made(name).params if each.param_type_name == "option"]
    flags = {max(each.opts, key=len) for each in options}
    assert all(flag in full for flag in flags)
    assert all(flag in short for flag in flags & MAIN)
    assert f"`shardctl {name} --help` shows all options." in short
    assert f"`man shardctl-{name}`" in full
    assert all(code in full for code, _ in EXIT_CODES)
    assert "Exit codes" not in short
