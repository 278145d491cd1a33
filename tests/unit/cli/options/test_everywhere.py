"""What every command has: its help, the version, and errors that name the command."""

from __future__ import annotations

import pytest
import typer

from shardctl._version import __version__
from shardctl.cli.app import app
from shardctl.cli.commands.verbs import VERBS
from shardctl.cli.options.everywhere import made

EVERYWHERE = {"version", "short_help", "help", "debug"}


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the program prints for a command line that it answers at once."""
    assert app(list(words), standalone_mode=False, prog_name="shardctl") in (0, None)
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.mark.parametrize("name", VERBS)
def test_each_command_has_these_options_last(name: str) -> None:
    """No body of a command sees them."""
    names = [each.name for each in made(name).params]
    assert set(names[-4:]) == EVERYWHERE
    assert not EVERYWHERE & set(names[:-4])


def test_the_program_has_all_commands_and_no_others() -> None:
    """A name that is not one of them is none, and each is made once."""
    assert app.list_commands(None) == list(VERBS)
    assert app.get_command(None, "split") is made("split")
    assert app.get_command(None, "slice") is None
    assert app.get_command(None, "") is None


@pytest.mark.parametrize("before", [(), ("split",), ("inspect",)])
def test_the_version(capsys: pytest.CaptureFixture[str], before: tuple[str, ...]) -> None:
    """It is printed, whatever else is missing or wrong on the line."""
    expected = f"shardctl {__version__}\n"
    assert printed(capsys, *before, "--version") == expected
    assert printed(capsys, *before, "--version", "--help") == expected


@pytest.mark.parametrize("name", ["", *VERBS])
def test_the_help_is_short_or_full(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Before anything else is read, so that no argument is missed."""
    words = [name] if name else []
    short, full = printed(capsys, *words, "-h"), printed(capsys, *words, "--help")
    assert short.startswith(f"Usage: shardctl {name}".rstrip())
    assert full.startswith(f"Usage: shardctl {name}".rstrip())
    assert len(short) < len(full)


def test_no_variable_asks_for_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that found one would never do its work."""
    for name in ("HELP", "VERSION", "SHORT_HELP"):
        monkeypatch.setenv(f"SHARDCTL_COMPLETION_{name}", "1")
        monkeypatch.setenv(f"SHARDCTL_{name}", "1")
    assert "bash completion for shardctl" in printed(capsys, "completion", "bash")


def test_an_error_knows_its_command() -> None:
    """Whatever Typer found wrong in its line."""
    for words in (["split"], ["split", "a", "b", "--none"], ["split", "a", "b", "--jobs", "x"]):
        with pytest.raises(typer.TyperException) as caught:
            app(list(words), standalone_mode=False, prog_name="shardctl")
        assert caught.value.ctx.command is made("split")  # type: ignore[attr-defined] # it has one
