"""The help: one screen a command, with panels and an example, and no variable that asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.cli.spec import Command
from tests.checkpoints import run_cli
from tests.cli.files import plain_directory
from tools import source

ROOT, *COMMANDS = source.commands()
WIDTH = 100
#: The lines of a tall window; the writers with all their options fill it.
MOST_LINES = 48


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """The help of each command, as wide as the screen."""
    names = [command.name for command in (ROOT, *COMMANDS)]
    return {
        name: run_cli(*filter(None, [name]), "--help", env={"COLUMNS": str(WIDTH)}).stdout
        for name in names
    }


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_fits_one_screen(pages: dict[str, str], command: Command) -> None:
    """No command's help is taller or wider than a screen, and none of its texts takes a second
    line.
    """
    lines = pages[command.name].splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= WIDTH
    rows = [line for line in lines if line.startswith("│")]
    assert len(rows) == len(command.arguments) + sum(
        not option.everywhere for option in command.options
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_page_has_panels_options_and_an_example(pages: dict[str, str], command: Command) -> None:
    """Every argument and option stands under a heading; below there are an example and the way to
    the manual.
    """
    text = pages[command.name]
    headings = ["Arguments", *(name for name, _ in command.panels())]
    options = [option.spelling for option in command.options if not option.everywhere]
    more = [command.summary, f"Example: {command.examples[0]}", f"man shardctl-{command.name}"]
    assert [each for each in (*headings, *options, *more) if each not in text] == []


def test_the_program_lists_commands_and_exit_codes(pages: dict[str, str]) -> None:
    """The program's own help has every command with what it does, the exit codes, and where there
    is more.
    """
    text = pages[""]
    assert [
        each.name for each in COMMANDS if f"{each.name} " not in text or each.summary not in text
    ] == []
    assert "Exit codes: 0 done" in text
    assert "man shardctl" in text


def test_nothing_asked_is_the_help(pages: dict[str, str]) -> None:
    """Without a command the same help is talk: on stderr, with exit code 2."""
    done = run_cli(code=2, env={"COLUMNS": str(WIDTH)})
    assert (done.stdout, done.stderr) == ("", pages[""])


def test_the_short_form_is_the_same(pages: dict[str, str]) -> None:
    """`-h` shows what `--help` shows."""
    assert run_cli("index", "-h", env={"COLUMNS": str(WIDTH)}).stdout == pages["index"]


def test_no_variable_asks_for_help_or_version(tmp_path: Path) -> None:
    """SHARDCTL_SPLIT_HELP=1 in an environment does not keep the command from its work."""
    directory = plain_directory(tmp_path / "source")
    names = ("HELP", "VERSION", "SPLIT_HELP", "SPLIT_VERSION")
    done = run_cli(
        "split",
        directory,
        directory / "out",
        "--dry-run",
        env={f"SHARDCTL_{name}": "1" for name in names},
    )
    assert done.stdout.startswith("shard\tsize\ttensors\n")
