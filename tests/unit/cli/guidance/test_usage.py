"""A command line that cannot be parsed is answered in our own words, with what to type instead."""

from __future__ import annotations

import pytest
import typer

from shardctl.cli.app import app
from shardctl.cli.guidance.usage import explain
from shardctl.errors import UsageError


def said(*words: str) -> UsageError:
    """The error for a command line."""
    with pytest.raises(typer.TyperException) as caught:
        app(list(words), standalone_mode=False, prog_name="shardctl")
    return explain(caught.value)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["frob"], "no such command 'frob'", "`shardctl --help` lists the commands"),
        (["inspct"], "no such command 'inspct'", "did you mean `shardctl inspect`?"),
        (["/"], "no such command '/'", "a command comes first"),
        (["hub://a/b"], "no such command 'hub://a/b'", "a command comes first"),
        (["split"], "SOURCE and TARGET are needed", "type `shardctl split SOURCE TARGET`"),
        (["split", "a"], "SOURCE and TARGET are needed", "type `shardctl split SOURCE TARGET`"),
        (["verify"], "SOURCE is missing", "type `shardctl verify SOURCE`"),
        (["split", "a", "b", "--force"], "has no option --force", "did you mean `--replace`?"),
        (["split", "a", "-o", "b"], "has no option -o", "TARGET is an argument"),
        (["split", "a", "b", "--deep"], "has no option --deep", "elsewhere it exists: `shardctl"),
        (["--deep"], "has no option --deep", "options come after the command"),
        (["split", "a", "b", "--frobnicate"], "has no option", "--help` lists the options"),
        (["split", "a", "b", "--max-shard-size"], "--max-shard-size needs a value", "see `"),
        (["split", "a", "b", "--json=x"], "--json is a switch, and takes no value", "see `"),
        (["split", "a", "b", "--num-shards", "x"], "takes a whole number", "see `"),
        (["split", "a", "b", "--jobs", "auto"], "not 'auto'", "leave --jobs out for the default"),
        (["split", "a", "b", "--order", "sorce"], "takes one of", "did you mean `--order source`?"),
        (["split", "a", "b", "--to", "pt"], "takes one of", "did you mean `--to bin`?"),
    ],
)
def test_each_mistake_has_an_answer(words: list[str], message: str, hint: str) -> None:
    """What is wrong is named, and the hint says what to type."""
    error = said(*words)
    assert error.exit_code == 2
    assert message in error.message
    assert hint in error.hint
    assert not error.message.endswith(".")


def test_a_variable_is_named_where_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is to correct the variable, not an option that was not typed."""
    monkeypatch.setenv("SHARDCTL_SPLIT_NUM_SHARDS", "many")
    error = said("split", "a", "b")
    assert "SHARDCTL_SPLIT_NUM_SHARDS takes a whole number" in error.message
    assert "`unset SHARDCTL_SPLIT_NUM_SHARDS`" in error.hint


def test_an_error_without_a_place() -> None:
    """The parser's text is put in our form."""
    error = explain(typer.TyperException("Something is wrong."))
    assert error.message == "something is wrong"
    assert "--help" in error.hint
