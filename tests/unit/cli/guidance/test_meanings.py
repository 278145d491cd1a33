"""A command or an option that does not exist is guessed by meaning first, then by its letters."""

from __future__ import annotations

import pytest

from shardctl.cli.guidance.meanings import ARGUMENTS, commands_meant, option_meant

COMMANDS = (
    "split",
    "merge",
    "reshard",
    "inspect",
    "verify",
    "diff",
    "index",
    "completion",
    "apply",
)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("convert", ["reshard"]),
        ("LS", ["inspect"]),
        ("check", ["verify"]),
        ("compare", ["diff"]),
        ("cat", ["merge", "inspect"]),
        ("version", ["--version"]),
        ("inspct", ["inspect"]),
        ("Verfy", ["verify"]),
        ("zzz", []),
        ("", []),
    ],
)
def test_commands(word: str, meant: list[str]) -> None:
    """What other programs call it, in any case, and what is nearly written so; no riddle is
    guessed.
    """
    assert commands_meant(word, COMMANDS) == meant


def test_a_command_that_there_is_not_is_not_advised() -> None:
    """The meaning counts only where the program has that command."""
    assert commands_meant("compare", ["verify"]) == ["verify"]
    assert commands_meant("check", ["split"]) == []


OPTIONS = ("--replace", "--max-shard-size", "--quiet", "--filter", "--single", "--help", "-q")


@pytest.mark.parametrize(
    ("word", "by_letters", "meant"),
    [
        ("--force", False, "--replace"),
        ("-f", False, "--replace"),
        ("-s", False, "--max-shard-size"),
        ("--name", False, "--filter"),
        ("--singel", True, "--single"),
        ("--singel", False, None),
        ("-quiet", True, "--quiet"),
        ("-quiet", False, None),
        ("--jobs", True, None),
        ("-z", True, None),
    ],
)
def test_options(word: str, meant: str | None, *, by_letters: bool) -> None:
    """The first that the command has; letters count only where they may."""
    assert option_meant(word, OPTIONS, by_letters=by_letters) == meant


def test_the_next_meaning_counts_where_the_first_is_missing() -> None:
    """`-s` is a size where there is one, and else quiet."""
    assert option_meant("-s", ["--quiet"], by_letters=False) == "--quiet"
    assert option_meant("-s", ["--other"], by_letters=False) is None


def test_options_for_what_is_an_argument() -> None:
    """Both arguments are known by what other programs call them."""
    assert (ARGUMENTS["--output-dir"], ARGUMENTS["-i"]) == ("TARGET", "SOURCE")
