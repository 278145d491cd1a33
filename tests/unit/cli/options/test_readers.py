"""What the options of the readers take, on the line and in their variables."""

from __future__ import annotations

import pytest
import typer

from shardctl.cli.options.everywhere import made
from shardctl.cli.spec import describe


def value(command: str, name: str, *words: str) -> object:
    """What a command gets for an option."""
    return made(command).make_context(command, list(words)).params[name]


def test_patterns_are_repeated_or_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the variable by spaces; what is typed overrides it."""
    assert not value("inspect", "globs", "m")
    assert value("inspect", "globs", "m", "--filter", "a b", "--filter", "c") == ("a b", "c")
    monkeypatch.setenv("SHARDCTL_INSPECT_FILTER", "*.bias  *.weight")
    assert value("inspect", "globs", "m") == ("*.bias", "*.weight")
    assert value("inspect", "globs", "m", "--filter", "x") == ("x",)


@pytest.mark.parametrize("option", ["--depth", "--top", "--jobs"])
def test_numbers_are_at_least_one(option: str) -> None:
    """None or fewer is a usage error."""
    name = option.lstrip("-")
    assert value("inspect", name, "m", option, "1") == 1
    for text in ("0", "-1", "1.5", ""):
        with pytest.raises(typer.TyperException):
            value("inspect", name, "m", option, text)


def test_shells_are_those_with_a_script() -> None:
    """Any other is a usage error."""
    assert value("completion", "shell", "fish") == "fish"
    with pytest.raises(typer.TyperException):
        value("completion", "shell", "tcsh")


def test_comparisons_take_what_writers_took() -> None:
    """`verify` and `diff` have each option that chooses, names or converts tensors."""
    transforms = {
        "--include", "--exclude", "--strip-prefix", "--add-prefix", "--rename", "--experts",
        "--experts-map", "--dtype", "--keep-dtype",
    }  # fmt: skip
    for name in ("verify", "diff", "split", "merge", "reshard"):
        flags = {flag for each in describe(made(name)).options for flag in each.flags}
        assert transforms <= flags, name
